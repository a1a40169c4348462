"""`headgate mcp …`: the MCP servers of a running gateway, and logins to them."""

import asyncio
import importlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click

from headgate.cli.remote import Remote, json_option, part, remote_options, show_json, show_table


@click.group("mcp")
def command() -> None:
    """Look at the MCP servers of a running gateway, and log in to them."""


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


@command.command("login")
@click.argument("server")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file; else found as by serve.")
def login(server: str, file: Path | None) -> None:
    """Log in to a server that asks for it, once, in a browser on this machine; the gateway uses the login from then on.

    The login is kept in the data directory, for its owner alone.
    """
    loading = importlib.import_module("headgate.config.load")
    loaded = loading.load(file)
    settings = loaded.settings.mcp.servers.get(server)
    if settings is None or settings.oauth is None:
        raise click.ClickException(f"There is no MCP server '{server}' with `oauth:` in the configuration.")
    count = asyncio.run(_logged_in(server, settings, loaded.data_dir))
    click.echo(f"You are logged in to {server}. Its tools: {count}.")


async def _logged_in(name: str, settings: Any, folder: Path) -> int:
    """How many tools the server has."""
    oauth = importlib.import_module("headgate.tools.mcp_oauth")
    wire = importlib.import_module("headgate.tools.mcp_connection")
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split(b" ")[1:2]
        target = path[0].decode("latin-1") if path else ""
        is_it = urlsplit(target).path == oauth.CALLBACK
        if is_it and not came.done():
            came.set_result(target)
        text = "You may close this page." if is_it else "There is nothing here."
        status = "200 OK" if is_it else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n{text}".encode())
        await writer.drain()
        writer.close()

    async def show(url: str) -> None:
        click.echo(f"Open this page in a browser on this machine:\n{url}")

    async def wait() -> Any:
        found = parse_qs(urlsplit(await came).query)
        if "code" not in found:
            raise click.ClickException(f"The login was refused: {found.get('error', ['no code came back'])[0]}.")
        given = {name: found[name][0] for name in ("code", "state", "iss") if name in found}
        return importlib.import_module("mcp.shared.auth").AuthorizationCodeResult(**given)

    patient = settings.model_copy(update={"connect_seconds": 300.0})
    signed = oauth.Login(settings, oauth.kept_for(name, folder), show, wait)
    listening = await asyncio.start_server(answer, "127.0.0.1", settings.oauth.redirect_port)
    connection = wire.Connection(patient, signed, ended=lambda *_: None, changed=lambda: None)
    try:
        await connection.open()
        tools, _ = await connection.tools()
    except ConnectionError as error:
        raise click.ClickException(f"The login did not work: {error}.") from None
    finally:
        await connection.close()
        listening.close()
    return len(tools)
