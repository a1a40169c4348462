"""Items that a caller names by their ids, in the place of the references to them."""

from collections.abc import Iterable, Mapping
from typing import Any

from headgate.conversations.store import State
from headgate.conversations.types import Owner
from headgate.core.errors import InvalidField
from headgate.core.state_errors import ItemNotFound

_MOST = 500


def reference_in(one: object) -> str:
    """The id that an item of a request refers to; empty for one that is there itself. The type may be left out."""
    if not isinstance(one, dict) or one.get("type") not in (None, "item_reference") or "role" in one:
        return ""
    id_ = one.get("id")
    return id_ if isinstance(id_, str) else ""


async def with_referred(
    told: object, history: Iterable[Mapping[str, Any]], owner: Owner, state: State, where: str = "input"
) -> object:
    """The same with the items that are referred to. Those that are told anyway, being in the history, are left out.

    Raises ItemNotFound for what is stored nowhere or is somebody else's.
    """
    if not isinstance(told, list):
        return told
    wanted = {at: id_ for at, one in enumerate(told) if (id_ := reference_in(one))}
    if not wanted:
        return told
    if len(wanted) > _MOST:
        raise InvalidField(f"At most {_MOST} items may be referred to.", param=where)
    known = {str(one.get("id")) for one in history}
    found = await state.heads.find(owner, [id_ for id_ in wanted.values() if id_ not in known])
    whole: list[Any] = []
    for at, one in enumerate(told):
        id_ = wanted.get(at, "")
        if not id_:
            whole.append(one)
        elif id_ in found:
            whole.append(dict(found[id_].data))
        elif id_ not in known:
            raise ItemNotFound(f"Item with id '{id_}' not found.", param=f"{where}[{at}]")
    return whole
