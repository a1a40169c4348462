"""Every promised behaviour with its id. Numbers are the rows of the acceptance list; words are promises of our own.

A test names what it covers with `@covers("1")`; a test without an id and a finished id without a test both fail.
"""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Requirement:
    """One promise. `finished`: it must have a test."""

    text: str
    finished: bool = True


REQUIREMENTS = {
    "1": Requirement(
        "Chat completions reach the provider with every field unchanged and come back with our model name"
    ),
    "2": Requirement("Streams: first chunk before the provider ends, order kept, one [DONE], usage only when asked"),
    "3": Requirement("Every model route also without /v1"),
    "4": Requirement("GET /v1/models lists what is offered, once each, also while an upstream is down"),
    "5": Requirement("GET /v1/models/{id}, with slashes; unknown is a 404 envelope"),
    "6": Requirement("Tools, response_format, seed and their kind reach the provider; tool-call deltas stay intact"),
    "7": Requirement(
        "Image parts reach the provider verbatim, or 400 image_url_not_supported where a model forbids them"
    ),
    "8": Requirement("JSON mode reaches the provider; valid JSON comes back"),
    "9": Requirement("Embeddings: floats, base64 and token arrays; usage recorded"),
    "11": Requirement("GET /v1/info: modalities, tools, context window, constraints and prices of each model"),
    "12": Requirement("A caller that leaves closes the upstream call within a second, stream or not"),
    "13": Requirement("Connections are reused; connect, read, write and total timeouts; a slow provider is a 504"),
    "14": Requirement("Retry before the first byte, targets in order, never a retry after it"),
    "15": Requirement("A smaller max_tokens is raised to the model's floor, and the answer says so"),
    "16": Requirement("Fields a model does not take are left out and told, or passed on, as set"),
    "17": Requirement("reasoning_effort: request over target, model and top; none is absent; leaving out is told"),
    "18": Requirement("One error envelope everywhere; upstream statuses mapped; an error mid-stream is the last event"),
    "19": Requirement("GET /errors lists every code that can be provoked"),
    "20": Requirement("Limits on body and JSON: 413 and 400 with the field named"),
    "21": Requirement("x-request-id echoed, logged and forwarded; traceparent forwarded as a child"),
    "22": Requirement("What the caller sends is a byte prefix of what the provider gets, turn after turn"),
    "23": Requirement("Tools or response_format on a plain model are passed through, whatever the header asks for"),
    "24": Requirement("X-Routing-Mode has four values, in any case; another is a 400 that names them"),
    "25": Requirement("Without a header a request is passed through with exactly one upstream call"),
    "26": Requirement("The classifier's verdict holds; a bad or late one passes the request through, with the reason"),
    "27": Requirement("The strategy and who chose it stand in the headers of the answer"),
    "28": Requirement("An agent's own strategy holds; the header overrides it only where that is allowed"),
    "29": Requirement("The same message is classified once"),
    "30": Requirement("Reasoning: steps that think, use tools and finish, then an answer that streams"),
    "31": Requirement("Reasoning is told by events of known types, in order"),
    "32": Requirement("Tools of one step run side by side, or one after the other where that is wanted"),
    "33": Requirement("Reasoning that never finishes ends at its bounds, and is answered all the same"),
    "34": Requirement("A step that cannot be read is asked for once more, then told as an error, and answered"),
    "35": Requirement("The usage of a steered run is the sum of all its calls"),
    "36": Requirement("The caller's system text and the roles of the conversation reach the answer"),
    "37": Requirement("What a model thinks by itself is one event and no part of the answer"),
    "38": Requirement("An answer in one piece holds the events of its reasoning"),
    "39": Requirement("Prompts are files: what stands in them is sent, and takes effect when read anew"),
    "52": Requirement("Agents in YAML files, one or a list in each; every mistake is told with file, line and remedy"),
    "53": Requirement("An agent is a model by name, with and without augmented/; names that clash are refused"),
    "54": Requirement("The system message is the agent's prompt, then its skills, then the caller's"),
    "55": Requirement("Calls of tools in prompts: every kind of value, run side by side, errors as set"),
    "56": Requirement("Templates are never read in skills, callers' texts or what tools say"),
    "57": Requirement("Skills as folders and as single files, global and of one agent, in nested folders too"),
    "58": Requirement("Which skills an agent has: its own, and those it lists or all that are global"),
    "59": Requirement("MCP servers over stdio: their tools are listed and called"),
    "60": Requirement("MCP servers over server-sent events: their tools are listed and called"),
    "61": Requirement("MCP servers over streamable HTTP: their tools are listed and called, in both revisions"),
    "62": Requirement(
        "${VAR} in env, headers, url and args of MCP servers; an unset one is told by name, file and line"
    ),
    "63": Requirement("MCP tools are called mcp_{server}_{tool}, 64 characters at most, and can be told apart"),
    "64": Requirement("White- and blacklists of MCP tools by patterns of their own names, the whitelist first"),
    "65": Requirement("Model and the gateway's own tools take turns, within bounds; a loop without end stops"),
    "66": Requirement("Callers' own tools are handed to them; in mixed turns the transcript stays valid"),
    "67": Requirement("Four statuses tell of the tools of an agent while it streams, in order and of one shape"),
    "68": Requirement("The answer after the tools streams as the model says it"),
    "69": Requirement("POST /admin/reload takes effect as a whole or not at all; streams under way go on"),
    "70": Requirement(
        "MCP servers come back after a death; calls end in time; faults are results; the status tells all"
    ),
    "71": Requirement("/admin/mcp shows servers, their state and their tools, for keys with the scope"),
    "72": Requirement("An agent gets the answer of another that it asked, which is shown as much history as is set"),
    "73": Requirement("headgate demo-mcp: a small MCP server with made-up tools"),
    "agents-cost": Requirement("Agents cost little: a round of tools, many of them configured, many streams at once"),
    "demo-agent": Requirement("The demo agent answers with two tools through official clients and the packaged model"),
    "template-eval": Requirement("POST /admin/template/eval: the grammar alone, and tools that only read"),
    "81": Requirement("Conversations as JSON lines: off unless set, a file for each, without secrets"),
    "82": Requirement("GET /a1/agents lists what the key may use, without secrets"),
    "83": Requirement("POST /a1/agents/{name}/chat is the same as naming the agent as the model"),
    "158": Requirement("Agents and tools are offered at /mcp, each key seeing and calling its own"),
    "events": Requirement("Events of the gateway's own are left out for callers who want pure OpenAI chunks"),
    "open-responses": Requirement("The compliance runner of Open Responses passes, over HTTP and WebSockets"),
    "responses": Requirement("The Responses API on any upstream: every event, item and field in the API's own words"),
    "mcp-conformance": Requirement("The MCP conformance suite passes, and real servers can be used"),
    "101": Requirement("The tools that come with the gateway, in groups, each with a schema and hints"),
    "102": Requirement("Tools are added to plain models only by allow list, and the response names them"),
    "103": Requirement("GET /v1/tools and POST /v1/tools/execute, by scope"),
    "104": Requirement("Python plug-ins: a function in a folder, or in a package, is a tool"),
    "105": Requirement("The calculator gives Python's values and refuses what grows or is no arithmetic, at once"),
    "106": Requirement("Times in real time zones, summer time and fixed offsets"),
    "107": Requirement("Tools call public addresses only, each hop judged and pinned, within size and time"),
    "109": Requirement("Keys on by default, in every header form; none only on loopback"),
    "110": Requirement("Keys are made, listed, rotated, blocked and revoked; each takes effect on the next request"),
    "111": Requirement("Keys are kept as keyed hashes, shown once and in no file, log or answer"),
    "114": Requirement("Budgets by day, week, month and in total: hard ones refuse, soft ones tell"),
    "115": Requirement("Limits on requests, tokens and streams, with true x-ratelimit headers and retry-after"),
    "116": Requirement("Tenants and scopes: 403 names the scope that is missing; another tenant's object is 404"),
    "117": Requirement("GET, PUT and DELETE of a tenant's settings, each value with the level that set it"),
    "118": Requirement("Read-only settings of tenants are refused with tenant_config_key_readonly"),
    "environments": Requirement("Keys and tenants for dev, eval and prod, told apart in reports"),
    "budgets-used": Requirement("What is used and left of every budget is told, with the end of its period"),
    "119": Requirement("Models that a key or its tenant may not use are hidden from lists and refused"),
    "113": Requirement("Usage and cost per key, tenant, user, model, target, component, tag and day"),
    "120": Requirement("What is billed is the cost times a set factor"),
    "133": Requirement(
        "/metrics parses and tells of tokens, money, budgets, limits and the ledger; bounded, without keys"
    ),
    "134": Requirement("Amounts in USD, and in EUR at a set rate"),
    "152": Requirement(
        "One entry per attempt in the ledger, each amount with how it is known; none lost or counted twice in a crash"
    ),
    "122": Requirement("PROXY_MODEL_KEYS and MODEL_<KEY>_* serve their models, with or without the list of keys"),
    "123": Requirement("--model-spec, repeated, gives the same models as the environment's schema"),
    "124": Requirement("All flags of the launcher under headgate serve"),
    "125": Requirement("Command line over environment over .env over file over default, for every kind of setting"),
    "126": Requirement("--print-config prints LiteLLM's form, with references in place of secrets"),
    "127": Requirement("LiteLLM's files load; what they say is converted to our own form and back without loss"),
    "128": Requirement("headgate config show: every setting in force, with its value and where it was set"),
    "129": Requirement("Retired variables are named with what replaces them"),
    "121": Requirement("The end user named by X-User-Id is the one who is counted and limited"),
    "130": Requirement(".env is read and never overrides the environment"),
    "131": Requirement("Duplicates, levels and missing keys are told by headgate check, all at once"),
    "132": Requirement("SIGTERM: not ready at once, streams finish, exit 0"),
    "135": Requirement(
        "Spans over OTLP, one tree per request, in the conventions of GenAI and OpenInference; no text, no keys"
    ),
    "136": Requirement("The span of a stream ends with the stream, with its tokens and cost"),
    "137": Requirement("One JSON line per request, stream or not, without prompt text"),
    "139": Requirement(
        "Every administrative act leaves a row in a chain that shows what was altered, removed or put in"
    ),
    "74": Requirement("POST /c1/chat makes a conversation and says its id; the second turn sees the first"),
    "75": Requirement("Conversations are listed page by page, read and deleted; a deleted one is 404"),
    "76": Requirement("`provider` picks the target; an unknown one is 400"),
    "77": Requirement("Conversations belong to tenant and user; for anybody else they are 404"),
    "78": Requirement("What is streamed is stored; of a cut answer the partial text is, and is marked"),
    "79": Requirement("Two turns at once on one conversation: one waits or is refused, no item comes twice"),
    "80": Requirement("X-Conversation-ID on /v1: absent, empty, an id, malformed"),
    "84": Requirement("An agent's sessions are made, listed, read and deleted, and survive a restart"),
    "85": Requirement("Messages of a session are read and added to; the history is told to the model"),
    "86": Requirement("Compaction: a summary and the last turns word by word, calls with their results"),
    "87": Requirement("At 80 % of the window the next turn runs in a compacted session, and is told so"),
    "88": Requirement("The lineage is told both ways from any member"),
    "89": Requirement("A turn sent to an archived session lands on its live successor"),
    "90": Requirement("Calls on behalf of a run are authorised, limited, paid and told with their depth"),
    "91": Requirement("Where the summariser fails, a digest takes its place and says so"),
    "108": Requirement("Memory per user: written, read, searched, listed, deleted; nobody else's is seen"),
    "155": Requirement("A cut stream goes on where it stopped, with no byte lost or doubled"),
    "156": Requirement("Responses and Conversations as the API has them, over HTTP and WebSocket"),
    "160": Requirement("Fork and rewind from any item; the lineage tells what each compaction covers"),
    "scale-state": Requirement("100,000 conversations, long ones too, are opened, listed and searched quickly"),
    "crash-state": Requirement("kill -9 at any moment: no item that was seen is lost, none is twice, all goes on"),
    "161": Requirement("Actions that wait for an answer survive a restart and are answered from any door"),
    "172": Requirement("All of a user or tenant is exported and deleted; the ledger keeps its sums"),
    "162": Requirement("Runs are listed, shown and cancelled, whichever worker serves them"),
    "163": Requirement("A past run shows its candidates in order, with the reason for each"),
    "138": Requirement("/healthz, /readyz with latency per upstream, and the aliases"),
    "146": Requirement("One command in a new environment serves, without any other service"),
    "150": Requirement("Several workers, or machines, share limits and budgets; one that is killed harms no other"),
    "153": Requirement("Money is reserved before a request is sent and settled after; N at once pass no budget"),
    "154": Requirement("Idempotency-Key: repeats during and after are one call with identical bytes; other body 409"),
    "164": Requirement("A failing target rests but is never taken away; a 4xx does not count; statuses tell the truth"),
    "167": Requirement("Requests of one session, or that begin alike, stay on one replica and its prompt cache"),
    "policies": Requirement("Calls of tools that may destroy something are held back, told, and never run"),
    "delegation": Requirement("Agents ask agents: runs of their own, bounded in depth, on the same account"),
    "injection": Requirement("What tools bring in stays data: no marks, templates or fake calls in it take effect"),
    "arguments": Requirement("A tool's arguments are checked against its schema, and the field at fault is named"),
    "planner": Requirement("The planner ends, keeps its bounds and leaves no healthy target untried"),
    "targets": Requirement("Targets are balanced, limited, tagged and mirrored as set"),
    "wishes": Requirement("Callers may bound time and tries and choose tags, within what the operator allows"),
    "wildcards": Requirement("Patterns, aliases and hidden models"),
    "mock": Requirement("A provider that answers without any network"),
    "166": Requirement("LiteLLM's config.yaml loads directly, every field graded in a report"),
    "171": Requirement("headgate check lists every mistake with file, line, path and remedy"),
    "sse": Requirement("The rules of server-sent events that clients break on"),
    "keep-alive": Requirement("Comments between complete events while a model thinks"),
    "surfaces": Requirement("Completions, audio, rerank, moderations and images are relayed as they are"),
    "model-info": Requirement("GET /model/info and its kin in LiteLLM's shapes, without secrets"),
    "litellm-proxy": Requirement(
        "The same LiteLLM configuration behaves as under LiteLLM's own proxy, but for the differences listed"
    ),
    "prices": Requirement("List prices come with the package, are imported on first use and never fetched"),
    "splice": Requirement("Only named members of a JSON text are changed, byte for byte"),
    "fuzz": Requirement("Whatever the body, the answer is a 4xx envelope or a relayed call, never a 500"),
    "faults": Requirement("Whatever an upstream does, the caller gets a true status, and the next request succeeds"),
    "providers": Requirement("Providers that speak OpenAI are rows; their addresses, keys and quirks"),
    "litellm-sdk": Requirement("The long tail of providers through the LiteLLM SDK, imported on first use"),
    "local-model": Requirement("The packaged model answers, from a child process"),
    "environment": Requirement("A provider's key in the environment is enough to offer it"),
    "config": Requirement("headgate.yaml: one typed tree; mistakes told at once with file, line, path and remedy"),
    "litellm-config": Requirement("LiteLLM's model_list and master_key load; what is not honoured is named"),
    "schema": Requirement("The JSON Schema for editors is what the tree says"),
    "cli": Requirement("The command line: instant, data on stdout, messages on stderr, no traceback without --debug"),
    "metrics": Requirement("/metrics parses, moves, has bounded labels and no key material"),
    "redaction": Requirement("Keys never reach a log, an error or an answer"),
    "postgresql": Requirement("Keys, tenants and the ledger are kept in PostgreSQL as in SQLite"),
    "database": Requirement("One database, private to its owner and brought up to date at start"),
    "key-table": Requirement("100,000 keys are learned in a moment and take little memory"),
    "litellm-users": Requirement("LiteLLM's /user/* and /team/* make, show, change and end users and tenants"),
    "litellm-reports": Requirement(
        "LiteLLM's spend reports and health routes say what the ledger and the upstreams say"
    ),
    "litellm-clients": Requirement("LiteLLM's own client and command line work against this gateway"),
    "target-budgets": Requirement("A target or provider whose budget is spent is passed over"),
    "reconcile": Requirement("A provider's usage export is compared with the ledger, line by line"),
    "kinds": Requirement("Sound and pictures are charged at their own prices"),
    "litellm-keys": Requirement("LiteLLM's /key/* make, show, change and end the same keys"),
    "admin-cli": Requirement("headgate keys and tenants talk to a running gateway"),
    "routes": Requirement("Every route needs a key unless it is listed as public"),
    "bounds": Requirement("Bounds on headers, arrival time and requests in flight"),
    "workers": Requirement("Several workers serve on one address; one that ends is replaced"),
    "models-for-all": Requirement("GET /v1/models is read by clients of OpenAI's and of Anthropic's API, in pages too"),
    "ollama": Requirement("Ollama's API, for clients that speak no other: chat, generate, embed, tags, show, version"),
    "launch": Requirement("headgate launch starts clients that talk to the gateway, and writes none of their files"),
    "client-pages": Requirement("A page for each client says what it needs, and what of it was tried"),
    "clients": Requirement("Official clients work unchanged"),
    "architecture": Requirement("Each guard of the code's shape reports a planted violation"),
    "weight": Requirement("Import time, idle memory and install size stay small"),
    "docs": Requirement("Documents name what exists"),
    "bench": Requirement("The benchmark runs and its parts measure what they say"),
    "ids": Requirement("Run ids are unique and ordered by time; callers' ids are kept only when harmless"),
    "157": Requirement(
        "Anthropic's Messages API, from callers and to providers: streams by its rules, thinking, calls, counts, errors"
    ),
    "dialects": Requirement("A request of any dialect is read whole, and put into another without losing silently"),
    "conformance": Requirement(
        "Streams keep to the rules of their dialect, whatever the provider sent and however cut"
    ),
    "harness": Requirement("The stub upstream does what a test scripts"),
}


def covers(*ids: str) -> pytest.MarkDecorator:
    """Mark a test, class or module with the ids it covers."""
    return pytest.mark.covers(*ids)
