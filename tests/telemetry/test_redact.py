"""What looks like a credential is taken out of text; everything else stays."""

import pytest

from headgate.identity.keys import new_key
from headgate.telemetry.redact import redact
from tests.requirements import covers

pytestmark = covers("redaction")

SECRETS = [
    "sk-1234567890abcdef",
    "sk-proj-AbC_123-456xyz",
    "sk-ant-api03-AAAA-BBBB_CCCC",
    "sk-or-v1-0123456789abcdef",
    "gsk_0123456789abcdef",
    "xai-0123456789abcdef",
    "nvapi-0123456789abcdef",
    "hf_0123456789abcdef",
    "pplx-0123456789abcdef",
    "csk-0123456789abcdef",
    "r8_0123456789abcdef",
    "fw_0123456789abcdef",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "ghp_0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc-DEF_123",
    "Bearer 0123456789abcdef",
    "Basic dXNlcjpwYXNzd29yZA==",
]
AROUND = [
    "{}",
    "key={}",
    "'{}'",
    '{{"api_key":"{}"}}',
    "Incorrect API key provided: {}.",
    "({})",
    "a\n{}\nb",
    "x {}, y",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", AROUND)
def test_a_credential_is_taken_out_wherever_it_stands(secret: str, around: str) -> None:
    told = redact(around.format(secret))
    assert "[redacted]" in told
    tail = secret[-8:]
    assert tail not in told


def test_a_password_in_an_address_is_taken_out() -> None:
    assert redact("postgres://user:pass-word@host:5432/db") == "postgres://[redacted]@host:5432/db"


def test_our_own_keys_are_taken_out() -> None:
    for _ in range(200):
        assert redact(f"the key {new_key()} is wrong") == "the key [redacted] is wrong"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The model 'gpt-5' does not exist.",
        "http://127.0.0.1:8000/v1/models",
        "req_019aa0b1c2d3",
        "risk-averse and task-based work",
        "sk-",
        "fast: 12 tokens",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.timeout(10)
def test_long_text_takes_no_longer_than_its_length() -> None:
    for text in (
        "sk-" * 300_000,
        "eyJ" + "a" * 1_000_000,
        "://" + "a" * 1_000_000,
        "Bearer " * 200_000,
        "a:" * 500_000,
    ):
        redact(text)
