"""Two calls for what destroys: the first shows what would change, the second does it with the token of the first.

A token holds for one tenant, user and agent, one tool with the same arguments, one state of the object, and for some
time. It is signed with a key that no model ever sees, and stored nowhere: whatever it allows changes the state that it
names, so that it can be used once, with any worker.
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from time import time
from typing import Any, NamedTuple

import orjson

from headgate.tools.types import Caller

ARGUMENT = "confirm_token"
_PREFIX = "confirm_"
_PURPOSE = b"confirmation of a tool call"
_SECONDS = 600
_STATE, _SIGNATURE = 18, 24
_EXPIRY = 6


class Wanted(NamedTuple):
    """A call that somebody wants confirmed. `state` tells the object as it is: its id, version and the like."""

    tool: str
    arguments: Mapping[str, Any]
    caller: Caller
    state: tuple[Any, ...]


class Refused(ValueError):
    """Why a token does not hold."""


class Confirmations:
    """Gives tokens out and takes them back. `secret` is the gateway's own."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time, seconds: int = _SECONDS) -> None:
        self._key = hmac.digest(secret, _PURPOSE, "sha256")
        self._clock = clock
        self.seconds = seconds

    def token(self, wanted: Wanted) -> str:
        head = (int(self._clock()) + self.seconds).to_bytes(_EXPIRY) + self._state(wanted)
        return _PREFIX + base64.urlsafe_b64encode(head + self._signature(wanted, head)).decode()

    def check(self, token: str, wanted: Wanted) -> None:
        """Raises Refused."""
        again = f"Nothing was changed. Call it without `{ARGUMENT}` to see what it would change now"
        try:
            given = base64.b64decode(token.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        except ValueError:
            given = b""
        head, signature = given[:-_SIGNATURE], given[-_SIGNATURE:]
        if not hmac.compare_digest(signature, self._signature(wanted, head)):
            raise Refused(f"the token was not given to you for this tool with these arguments. {again}")
        if int.from_bytes(head[:_EXPIRY]) < self._clock():
            raise Refused(f"the token has expired. {again}")
        if not hmac.compare_digest(head[_EXPIRY:], self._state(wanted)):
            raise Refused(f"the token was used, or somebody else made a change since it was given. {again}")

    def _signature(self, wanted: Wanted, head: bytes) -> bytes:
        who = wanted.caller.who
        whose = [who.tenant, who.user, wanted.caller.agent]  # whoever approves a call may have another key
        arguments = {name: value for name, value in wanted.arguments.items() if name != ARGUMENT}
        told = orjson.dumps([head.hex(), whose, wanted.tool, arguments], option=orjson.OPT_SORT_KEYS)
        return hmac.digest(self._key, told, "sha256")[:_SIGNATURE]

    def _state(self, wanted: Wanted) -> bytes:
        return hmac.digest(self._key, orjson.dumps(wanted.state), "sha256")[:_STATE]
