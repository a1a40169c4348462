"""The one redactor: takes keys and tokens out of text before it reaches a log, an error or a trace."""

import re

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|nvapi|hf|pplx|csk|r8|fw|AIza|ghp|glpat|Bearer|Basic)[-_ ][A-Za-z0-9+/=._*-]{6,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_SHORTEST_CONCEALED = 8
_concealed: set[str] = set()


def conceal(secret: str) -> None:
    """Take this secret out of every text from now on, for not every key can be told by its looks."""
    if len(secret) >= _SHORTEST_CONCEALED:
        _concealed.add(secret)


def redact(text: str) -> str:
    """The text with every concealed secret, and all that looks like a credential, replaced by `[redacted]`."""
    for secret in _concealed:
        if secret in text:
            text = text.replace(secret, "[redacted]")
    return _SECRET.sub("[redacted]", text)
