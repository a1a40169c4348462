"""`headgate mcp …`: the MCP servers of a running gateway."""

import click

from headgate.cli.remote import Remote, json_option, part, remote_options, show_json, show_table


@click.group("mcp")
def command() -> None:
    """Look at the MCP servers of a running gateway."""


@command.command("list")
@click.option("--tools", is_flag=True, help="List the tools of all servers instead; connects to each.")
@json_option
@remote_options
def list_(remote: Remote, tools: bool, as_json: bool) -> None:
    """List servers with their state, or all tools."""
    found = remote.call("GET", "/admin/mcp/tools" if tools else "/admin/mcp/servers")
    if as_json:
        show_json(found["data"])
    elif tools:
        show_table(["NAME", "SERVER", "ORIGIN"], [[one["name"], one["server"], one["origin"]] for one in found["data"]])
        for server, why in found.get("absent", {}).items():
            click.echo(f"absent: {server}: {why}", err=True)
    else:
        rows = [[one[name] for name in ("name", "transport", "state", "tools", "error")] for one in found["data"]]
        show_table(["NAME", "TRANSPORT", "STATE", "TOOLS", "ERROR"], rows)


@command.command("show")
@click.argument("server")
@click.argument("tool", required=False)
@remote_options
def show(remote: Remote, server: str, tool: str | None) -> None:
    """Print all that is known of a server, or of one of its tools, as JSON; connects where it is not connected yet."""
    path = f"/admin/mcp/servers/{part(server)}"
    if tool is not None:
        show_json(remote.call("GET", f"{path}/tools/{part(tool)}"))
        return
    tools = remote.call("GET", f"{path}/tools")["data"]
    show_json({**remote.call("GET", path), "tools": [one["name"] for one in tools]})
