"""Logging in to MCP servers that ask for it: OAuth 2.1 with a code and PKCE, done once by a person in a browser.

The gateway itself never opens a browser: it uses, and renews, what a login left in the data directory.
"""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from headgate.tools.mcp_types import McpServerSettings, OAuthSettings

Show = Callable[[str], Awaitable[None]]
Wait = Callable[[], Awaitable[AuthorizationCodeResult]]
CALLBACK = "/callback"


class LoginNeeded(ConnectionError):
    """Somebody has to log in first."""


class Kept:
    """What a login left: tokens, and the client that was registered; in a file for its owner alone, or only here."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._memory: dict[str, Any] = {}

    async def get_tokens(self) -> OAuthToken | None:
        found = self._read().get("tokens")
        return OAuthToken.model_validate(found) if found else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        until = time.time() + tokens.expires_in if tokens.expires_in else None
        self._write(tokens=tokens.model_dump(mode="json", exclude_none=True), until=until)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        found = self._read().get("client")
        return OAuthClientInformationFull.model_validate(found) if found else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._write(client=client_info.model_dump(mode="json", exclude_none=True))

    @property
    def until(self) -> float | None:
        """When the access token ends, in seconds since the epoch; None if that was not said."""
        found: float | None = self._read().get("until")
        return found

    def _read(self) -> dict[str, Any]:
        if self._file is None:
            return self._memory
        try:
            found: dict[str, Any] = orjson.loads(self._file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return found

    def _write(self, **changed: Any) -> None:
        if self._file is None:
            self._memory |= changed
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_bytes(orjson.dumps({**self._read(), **changed}))
        draft.replace(self._file)


class Login(OAuthClientProvider):
    """Signs requests to one server."""

    def __init__(self, settings: McpServerSettings, kept: Kept, show: Show, wait: Wait) -> None:
        wanted = settings.oauth or OAuthSettings()
        redirect = f"http://127.0.0.1:{wanted.redirect_port}{CALLBACK}"
        super().__init__(
            settings.url or "",
            OAuthClientMetadata(client_name="headgate", redirect_uris=[AnyUrl(redirect)], scope=wanted.scope),
            kept,
            show,
            wait,
            client_metadata_url=wanted.client_metadata_url,
        )
        self._kept = kept
        self._wanted = wanted
        self._redirect = redirect

    async def _initialize(self) -> None:
        """What was kept; a client that the operator registered by hand comes before one that was registered here."""
        await super()._initialize()
        self.context.token_expiry_time = self._kept.until
        if self._wanted.client_id:
            self.context.client_info = OAuthClientInformationFull(
                client_id=self._wanted.client_id,
                client_secret=self._wanted.client_secret,
                redirect_uris=[AnyUrl(self._redirect)],
                token_endpoint_auth_method="client_secret_basic" if self._wanted.client_secret else "none",
            )


def login_of(name: str, settings: McpServerSettings, folder: Path | None) -> Login:
    """What the gateway sends to a server: it uses a login, but never begins one."""

    async def refuse(_: str) -> None:
        raise LoginNeeded(f"it asks for a login: run `headgate mcp login {name}` on this machine")

    async def nothing() -> AuthorizationCodeResult:
        raise AssertionError("unreachable")

    return Login(settings, kept_for(name, folder), refuse, nothing)


def kept_for(name: str, folder: Path | None) -> Kept:
    """Where the login to a server is kept, in the data directory."""
    return Kept(folder / "mcp" / f"{name}.json" if folder is not None else None)
