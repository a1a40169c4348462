"""Every secret of the settings, to be taken out of all that is logged and answered."""

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from headgate.config.secrets import may_be_secret
from headgate.config.tree import Settings

__all__ = ["secrets_of"]
_PLAIN_HEADERS = frozenset(("accept", "anthropic-version", "content-type", "http-referer", "user-agent", "x-title"))


def secrets_of(settings: Settings) -> Iterator[str]:
    """Keys and headers of upstreams, and passwords in addresses. The gateway's own keys are not among them."""
    for one in settings.upstreams:
        if one.api_key:
            yield one.api_key.get_secret_value()
        yield from (value for name, value in one.headers.items() if name.lower() not in _PLAIN_HEADERS)
        yield from (value for name, value in one.options.items() if isinstance(value, str) and may_be_secret(name))
        for address in (one.base_url, one.proxy):
            yield from _password(address)
    for given in (settings.database.url, settings.limits.redis_url):
        yield from _password(given.get_secret_value() if given else None)


def _password(address: str | None) -> Iterator[str]:
    """As it stands in the address, and as it is meant."""
    try:
        found = urlsplit(address or "").password
    except ValueError:
        return
    if found:
        yield from {found, unquote(found)}
