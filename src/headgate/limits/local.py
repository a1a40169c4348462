"""The table of a single worker: a plain list."""

from collections import OrderedDict
from collections.abc import Mapping

from headgate.core.bounds import Period
from headgate.core.errors import LimitsUnavailable
from headgate.limits.counters import FULL, ROW, is_idle

_STREAMS = ROW
_RESERVED = ROW + 1
_CELLS = ROW + 2
_TRIES = 8


class LocalTable:
    """Rows are given to other subjects when there are `subjects` of them; the longest known are looked at first."""

    def __init__(self, subjects: int = 100_000) -> None:
        self.cells: list[int] = []
        self._rows: OrderedDict[str, int] = OrderedDict()
        self.own = _STREAMS, _RESERVED
        self._most = subjects

    def lock(self) -> None:
        """There is nobody to keep out."""

    def unlock(self) -> None:
        """Nobody was kept out."""

    def find(self, subject: str, slot: int, numbers: Mapping[Period, int]) -> int:
        row = self._rows.get(subject)
        if row is None:
            row = self._more() if len(self._rows) < self._most else self._freed(slot, numbers)
            self._rows[subject] = row
        return row

    def peek(self, subject: str) -> int | None:
        return self._rows.get(subject)

    def streams(self, row: int) -> int:
        return self.cells[row + _STREAMS]

    def reserved(self, row: int) -> int:
        return self.cells[row + _RESERVED]

    def bury(self) -> bool:
        return False

    def close(self) -> None:
        """A list needs no closing."""

    def _more(self) -> int:
        row = len(self.cells)
        self.cells += [0] * _CELLS
        return row

    def _freed(self, slot: int, numbers: Mapping[Period, int]) -> int:
        for _ in range(_TRIES):
            subject, row = next(iter(self._rows.items()))
            if not self.streams(row) and not self.reserved(row) and is_idle(self.cells, row, slot, numbers):
                del self._rows[subject]
                self.cells[row : row + _CELLS] = [0] * _CELLS
                return row
            self._rows.move_to_end(subject)
        raise LimitsUnavailable(FULL, retry_after=60)
