"""Which addresses tools may call: the public internet only, however an address is spelled."""

import pytest

from headgate.core.tool_errors import AddressForbidden
from headgate.tools.guard import Guard, is_public
from tests.requirements import covers

pytestmark = covers("107")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "100.127.255.255"),
        *("192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.250"),
        *("240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:a9fe:a9fe", "::127.0.0.1", "::8.8.8.8"),
        *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
        *("2001::1", "2001:db8::1", "2001:10::1", "3fff::1", "5f00::1", "100::1"),
        *("", "localhost", "127.1", "0x7f000001", "300.1.1.1"),
    ],
)
def test_what_is_not_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"])
def test_public_addresses_are_let_through(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://localhost/", "http://LOCALHOST./", "http://127.1/", "http://2130706433/"),
        *("http://0x7f000001/", "http://0177.0.0.1/", "http://0x7f.1/", "http://017700000001/", "http://0/"),
        *("http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[0:0:0:0:0:0:0:1]/"),
        *("http://[64:ff9b::7f00:1]/", "http://169.254.169.254/latest/meta-data/", "http://[fe80::1%25lo]/"),
        *("http://①②⑦.0.0.1/", "http://１２７.0.0.1/"),
    ],
)
async def test_no_spelling_of_a_private_address_goes_through_the_real_look_up(url: str) -> None:
    with pytest.raises((AddressForbidden, OSError)):
        await Guard().place_of(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "http and https"),
        ("gopher://example.com/", "http and https"),
        ("ftp://example.com/", "http and https"),
        ("//example.com/", "http and https"),
        ("example.com", "http and https"),
        ("http://user:pass@example.com/", "user name"),
        ("http://example.com@127.0.0.1/", "user name"),
        ("http://@example.com/", "user name"),
        ("http://example.com:22/", "port 22"),
        ("http://example.com:0/", "port 0"),
        ("https://example.com:6379/", "port 6379"),
        ("http://example.com:99999/", "not a URL"),
        ("http:///path", "no host"),
        ("http://example.com\\@127.0.0.1/", "not a URL"),
        ("http://example.com /", "not a URL"),
        ("http://example.com/\r\nhost: x", "not a URL"),
        ("http://exa\tmple.com/", "not a URL"),
        ("http://[::1", "not a URL"),
        (f"http://example.com/{'a' * 5000}", "not a URL"),
        (f"http://{'a' * 70}.com/", "not a URL"),
    ],
)
async def test_what_is_no_plain_address_of_the_web_is_refused_by_name(url: str, why: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["8.8.8.8"]

    with pytest.raises(AddressForbidden, match=why) as refused:
        await Guard(resolve=resolve).place_of(url)
    assert refused.value.param == "url"


async def test_a_name_with_one_private_address_among_others_is_refused() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(AddressForbidden, match="public internet"):
        await Guard(resolve=resolve).place_of("http://two.test/")


async def test_hosts_may_be_limited_and_private_ones_allowed_by_name() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.7"] if host.endswith(".intra") else ["8.8.8.8"]

    guard = Guard(hosts=("*.example.com", "docs.test"), private=("*.intra",), resolve=resolve)
    place = await guard.place_of("https://WWW.Example.com/a?b=1#c")
    assert (place.host, place.port, place.addresses, place.target) == ("www.example.com", 443, ("8.8.8.8",), "/a?b=1")
    assert (await guard.place_of("http://wiki.intra:8080/")).authority == "wiki.intra:8080"
    for url in ("http://other.com/", "http://example.com/", "http://example.com.evil.test/"):
        with pytest.raises(AddressForbidden, match="not among"):
            await guard.place_of(url)


async def test_letters_beyond_ascii_go_out_encoded() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["8.8.8.8"]

    place = await Guard(resolve=resolve).place_of("http://bücher.test/straße?q=ä")
    assert (place.host, place.target) == ("xn--bcher-kva.test", "/stra%C3%9Fe?q=%C3%A4")
