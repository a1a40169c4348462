"""The hash of keys is the published one: what was stored before can be looked up after."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from headgate.identity.hashing import KeyedHash
from tests.requirements import covers


@covers("111")
@given(st.binary(min_size=1, max_size=200), st.lists(st.binary(max_size=300), max_size=3))
def test_it_is_what_the_standard_library_says(secret: bytes, texts: list[bytes]) -> None:
    keyed = KeyedHash(secret)
    assert [keyed.digest(text) for text in texts] == [hmac.digest(secret, text, "sha256") for text in texts]
