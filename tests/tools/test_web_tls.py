"""Pages over TLS: the certificate must be the name's, though the connection goes to an address."""

import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import trustme

from headgate.tools import download
from tests.requirements import covers
from tests.tools.test_web import fetch
from tests.tools.web import Host, answer, resolving

pytestmark = covers("107")
NAMES = resolving(open_test=["127.0.0.1"], other_test=["127.0.0.1"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest_asyncio.fixture
async def host(authority: trustme.CA) -> AsyncIterator[Host]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("open.test").configure_cert(context)
    async with Host(context) as running:
        running.pages["/"] = answer(b"safe", "text/plain")
        yield running


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    monkeypatch.setattr(download, "_tls", lambda: context)


@pytest.mark.usefixtures("trusted")
async def test_the_name_is_what_is_asked_for_and_verified(host: Host) -> None:
    good = await fetch(f"https://open.test:{host.port}/", NAMES)
    assert good.text.endswith("safe")
    wrong = await fetch(f"https://other.test:{host.port}/", NAMES, private_hosts=["other.test"])
    assert "TLS handshake failed" in wrong.text
    assert len(host.requests) == 1
    assert host.names == ["open.test", "other.test"]


async def test_a_certificate_that_nobody_vouches_for_is_refused(host: Host) -> None:
    refused = await fetch(f"https://open.test:{host.port}/", NAMES)
    assert "TLS handshake failed" in refused.text
    assert not host.requests
