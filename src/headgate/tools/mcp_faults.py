"""What can go wrong with an MCP server, in words that need no library of MCP's."""

from headgate.telemetry.redact import redact


class Refused(Exception):
    """The server answered a request with an error."""


class SessionGone(Refused):
    """The server no longer knows the session, so it did nothing."""


class StartFailed(ConnectionError):
    """The program of a server cannot be run."""


class Broken(Refused):
    """The connection ended before the answer came."""


def why(error: BaseException) -> str:
    """What went wrong, in one line without secrets."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, StartFailed):
        return str(error)
    text = redact(str(error)).strip().split("\n")[0][:500]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
