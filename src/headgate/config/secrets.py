"""Which values may be secrets, and how a value is shown without them."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from headgate.config.draft import Path_
from headgate.telemetry.redact import redact

HIDDEN = "[redacted]"
_WORDS = re.compile(r"key|token|secret|passw|credential|authori[sz]ation|cookie|signature", re.IGNORECASE)
_SECRET_SETTINGS = ("api_key", "master_key", "client_secret")
_FREE = ("options", "defaults", "info")


def may_be_secret(name: str) -> bool:
    """Whether a field or header of this name usually holds a secret."""
    return bool(_WORDS.search(name))


def holds_secret(text: str) -> bool:
    """Whether a text looks as if it held a secret."""
    return concealed(text) != text


def concealed(text: str) -> str:
    """A text without what looks like a secret in it: keys, and passwords in addresses."""
    return redact(_address(text) if "://" in text else text)


def shown_value(path: Path_, value: Any) -> Any:
    """The value of a setting as it may be shown to anybody."""
    if not isinstance(value, str) or not value:
        return value
    names = [str(part) for part in path if isinstance(part, str)]
    free = next((number for number, name in enumerate(names) if name in _FREE), None)
    in_free = free is not None and any(map(may_be_secret, names[free + 1 :]))
    in_headers = any("headers" in name for name in names)
    in_env = names[:2] == ["mcp", "servers"] and "env" in names
    in_keys = names[:2] in (["auth", "tokens"], ["tenants", "keys"])
    if in_free or in_headers or in_env or in_keys or names[-1] in _SECRET_SETTINGS:
        return HIDDEN
    return concealed(value)


def _address(text: str) -> str:
    try:
        url = urlsplit(text)
        query = parse_qsl(url.query, keep_blank_values=True)
    except ValueError:
        return text
    if "@" in url.netloc:
        url = url._replace(netloc=f"{HIDDEN}@{url.netloc.rpartition('@')[2]}")
    if any(may_be_secret(name) for name, _ in query):
        hidden = [(name, HIDDEN if may_be_secret(name) else value) for name, value in query]
        url = url._replace(query=urlencode(hidden, safe="[]"))
    return url.geturl()
