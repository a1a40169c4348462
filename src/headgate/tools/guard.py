"""Which addresses of the web a tool may call. Pure but for the look-up of names.

A URL is taken apart once, its host is resolved once, and whoever connects uses the very addresses that were judged
here; that is what makes it hold against a name that means something else a moment later.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

from headgate.core.tool_errors import AddressForbidden

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) to its addresses."""
_LONGEST_URL = 4096
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
            *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
            *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48"),
        ),
    )
)
"""What is not the public internet: RFC 6890 and its kin, 6to4 and Teredo, which carry an IPv4 address, and Azure's own
metadata host. Of IPv6, everything outside of 2000::/3 besides: NAT64, mapped, unique local, link-local, multicast."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if found.version == 6 and found not in _GLOBAL_V6:
        return False
    return found.is_global and not any(found in network for network in _REFUSED if network.version == found.version)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect, and what to say there. `addresses` were judged; no other may be used."""

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]
    target: str

    @property
    def authority(self) -> str:
        """For the Host header."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == _DEFAULT_PORTS[self.scheme] else f"{shown}:{self.port}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


async def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, as the machine resolves it; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Guard:
    """`hosts`: only these patterns, if any. `private`: patterns of hosts that may lie anywhere, on any port."""

    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    ports: frozenset[int] = frozenset((80, 443))
    resolve: Resolve = look_up

    async def place_of(self, url: str) -> Place:
        """Where a URL leads; raises AddressForbidden for what may not be called, and OSError for what is not known."""
        parts, host, port = self._taken_apart(url)
        trusted = _any(self.private, host)
        if self.hosts and not trusted and not _any(self.hosts, host):
            raise AddressForbidden(f"The host '{host}' is not among those that may be read.", param="url")
        if not trusted and port not in self.ports:
            raise AddressForbidden(f"The port {port} may not be called.", param="url")
        addresses = tuple(await self.resolve(host, port))
        if not addresses:
            raise OSError("the name has no address")
        if not trusted and not all(map(is_public, addresses)):
            raise AddressForbidden(f"The host '{host}' is not on the public internet.", param="url")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Place(parts.scheme, host, port, addresses, _escaped(target))

    def _taken_apart(self, url: str) -> tuple[SplitResult, str, int]:
        if len(url) > _LONGEST_URL or not url.isprintable() or " " in url or "\\" in url:
            raise AddressForbidden("This is not a URL: it is too long, or holds spaces or backslashes.", param="url")
        try:
            parts = urlsplit(url)
            port = parts.port
            host = _plain(parts.hostname or "")
        except ValueError:
            raise AddressForbidden("This is not a URL.", param="url") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise AddressForbidden("Only http and https addresses are read.", param="url")
        if not host:
            raise AddressForbidden("The URL names no host.", param="url")
        if "@" in parts.netloc:
            raise AddressForbidden("A URL must not hold a user name or a password.", param="url")
        return parts, host, _DEFAULT_PORTS[parts.scheme] if port is None else port


def _plain(host: str) -> str:
    """A host in lower-case ASCII, as it goes into the look-up, the Host header and the TLS handshake."""
    host = host.rstrip(".")
    if ":" in host:
        return str(ipaddress.IPv6Address(host)) if "%" not in host else ""
    return host.encode("idna").decode().lower() if host else ""


def _any(patterns: Sequence[str], host: str) -> bool:
    return any(fnmatchcase(host, pattern.lower()) for pattern in patterns)


def _escaped(target: str) -> str:
    """A path and query in ASCII."""
    return "".join(one if one.isascii() else "".join(f"%{byte:02X}" for byte in one.encode()) for one in target)
