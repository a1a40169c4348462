"""What goes wrong with tools and with agents that ask agents; a part of the tree in `errors`."""

from headgate.core.errors import Forbidden, HeadgateError, NotFound, Unavailable


class AddressForbidden(Forbidden):
    code = "address_forbidden"
    title = "A tool was asked to call an address that it may not call"
    remedy = "Public addresses over http and https only; the operator may allow hosts in `tools.web.private_hosts`."
    typical_param = "url"


class ToolNotFound(NotFound):
    code = "tool_not_found"
    title = "There is no such tool, or the key may not use it"
    remedy = "List them with `GET /v1/tools`."
    typical_param = "name"


class DelegationTooDeep(HeadgateError):
    code = "depth_limit"
    status = 508
    type = "agent_error"
    title = "Agents asked each other more often in a row than is allowed"
    remedy = "Raise `bounds.depth` of the agent that was asked first, or let fewer agents delegate."
    should_retry = False


class McpNotFound(NotFound):
    code = "mcp_not_found"
    title = "No such MCP server, or it has no such tool"
    remedy = "List them with `GET /admin/mcp/servers` and `GET /admin/mcp/tools`."


class McpUnavailable(Unavailable):
    code = "mcp_unavailable"
    title = "An MCP server that is needed is down"
    remedy = "Try again after `retry-after`; `GET /admin/mcp/servers` says what is wrong with it."
