"""The one redactor: takes keys and tokens out of text before it reaches a log, an error or a trace."""

import re

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|nvapi|hf|pplx|csk|r8|fw|AIza|ghp|glpat|Bearer|Basic)[-_ ][A-Za-z0-9+/=._*-]{6,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


def redact(text: str) -> str:
    """The text with everything that looks like a credential replaced by `[redacted]`."""
    return _SECRET.sub("[redacted]", text)
