"""Ids of the calls in one answer. Callers match results with calls by them, so no two calls may have the same."""


class CallIds:
    """Some providers number their calls anew in each piece of an answer, or give all of them one id."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def own(self, id_: str) -> str:
        """The id, or another that no call has yet."""
        number, own = 1, id_
        while own in self._taken:
            number += 1
            own = f"{id_}_{number}"
        self._taken.add(own)
        return own
