"""Whatever three workers do with two keys, in whatever order: one makes the answer, all others get the same bytes."""

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from headgate.core.errors import IdempotencyKeyReused
from headgate.idempotency import folder
from headgate.idempotency.folder import Folder
from headgate.idempotency.keeper import Keeper
from headgate.idempotency.recording import Recording
from headgate.idempotency.types import Answer, Ended, Head, IdempotencySettings, MakerGone, Started
from tests.harness.stub import BOUND
from tests.requirements import covers

pytestmark = covers("154")
WORKERS, KEYS = st.integers(0, 2), st.sampled_from(["a", "b"])
STARTED = Started(200, [(b"content-type", b"text/plain")], "small")


@dataclass
class Heard:
    """What one caller got so far. `own`: of a call that his own worker makes."""

    own: bool
    data: bytes = b""
    is_lost: bool = False
    task: "asyncio.Task[None] | None" = None


@dataclass
class Made:
    """What is true of a key: the call whose answer is made or kept."""

    run: str
    body: str
    worker: int
    recording: Recording
    data: bytes = b""
    is_kept: bool = False
    heard: list[Heard] = field(default_factory=list)


class Workers(RuleBasedStateMachine):
    """Processes that die and come back are keepers whose files are closed without an end."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.keepers = [self.new_keeper() for _ in range(3)]
        self.known: dict[str, Made] = {}
        self.runs = 0

    def new_keeper(self) -> Keeper:
        return Keeper(Folder(self.path), b"secret", IdempotencySettings(keep_seconds=1000))

    def live(self) -> list[str]:
        return [key for key, made in self.known.items() if not made.is_kept]

    def run_for(self, *waited: "asyncio.Task[None] | None") -> None:
        async def wait() -> None:
            async with asyncio.timeout(BOUND):
                for task in waited:
                    if task is not None:
                        await task
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())

    async def hear(self, answer: Answer, heard: Heard) -> None:
        try:
            async for event in answer.events():
                if type(event) is bytes:
                    heard.data += event
                else:
                    assert event == STARTED
        except MakerGone:
            heard.is_lost = True
        finally:
            answer.close()

    @rule(worker=WORKERS, key=KEYS, body=st.sampled_from(["x", "x", "x", "y"]))
    def ask(self, worker: int, key: str, body: str) -> None:
        self.runs += 1
        head = Head(f"req_{self.runs}", body)
        known = self.known.get(key)
        asking = self.keepers[worker].claim(key, head)
        if known is not None and known.body != body:
            with pytest.raises(IdempotencyKeyReused):
                self.loop.run_until_complete(asking)
            return
        claim = self.loop.run_until_complete(asyncio.wait_for(asking, BOUND))
        assert (claim.making is not None) is (known is None)
        if claim.making is not None:
            known = self.known[key] = Made(head.run, body, worker, claim.making)
            claim.making.start(STARTED)
        assert known is not None
        assert claim.answer.head.run == known.run
        heard = Heard(worker == known.worker)
        heard.task = self.loop.create_task(self.hear(claim.answer, heard))
        if known.is_kept:
            self.run_for(heard.task)
            assert (heard.data, heard.is_lost) == (known.data, False)
        else:
            known.heard.append(heard)

    @precondition(lambda self: self.live())
    @rule(chance=st.data(), data=st.binary(min_size=1, max_size=40))
    def add(self, chance: st.DataObject, data: bytes) -> None:
        made = self.known[chance.draw(st.sampled_from(self.live()))]
        self.loop.run_until_complete(made.recording.piece(data))
        made.data += data

    @precondition(lambda self: self.live())
    @rule(chance=st.data(), is_kept=st.booleans())
    def end(self, chance: st.DataObject, is_kept: bool) -> None:
        key = chance.draw(st.sampled_from(self.live()))
        made = self.known[key]
        made.recording.end(Ended("kept" if is_kept else "dropped"))
        self.run_for(*(heard.task for heard in made.heard))
        assert {(heard.data, heard.is_lost) for heard in made.heard} <= {(made.data, False)}
        made.heard.clear()
        if is_kept:
            made.is_kept = True
        else:
            del self.known[key]

    @rule(worker=WORKERS)
    def die(self, worker: int) -> None:
        """The kernel closes the files of a dead process; its callers are gone, those of others are told."""
        for key in self.live():
            made = self.known[key]
            if made.worker == worker:
                os.close(made.recording._file)
                made.recording._file = -1
                self.forget(key)
        self.keepers[worker] = self.new_keeper()

    def forget(self, key: str) -> None:
        made = self.known.pop(key)
        for heard in made.heard:
            assert heard.task is not None
            if heard.own:
                heard.task.cancel()
                continue
            self.run_for(heard.task)
            assert (heard.data, heard.is_lost) == (made.data, True)

    @rule(key=KEYS, worker=WORKERS, swept=st.booleans())
    def outlast(self, key: str, worker: int, swept: bool) -> None:
        if key in self.known and self.known[key].is_kept:
            os.utime(self.path / f"{key}.answer", (0, 0))
            del self.known[key]
        if swept:
            self.loop.run_until_complete(self.keepers[worker].sweep())

    @invariant()
    def whoever_listens_has_a_part_of_the_one_answer(self) -> None:
        self.run_for()
        for made in self.known.values():
            assert all(made.data.startswith(heard.data) and not heard.is_lost for heard in made.heard)
            assert all(heard.data == made.data for heard in made.heard if heard.own)

    def teardown(self) -> None:
        for key in self.live():
            self.known[key].recording.end(Ended("dropped"))
            self.run_for(*(heard.task for heard in self.known[key].heard))
        self.run_for()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        drafts = list(self.path.glob("*.draft"))
        shutil.rmtree(self.path)
        assert drafts == []


def test_one_makes_it_and_all_others_get_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_LONGEST_PAUSE", 0.001)
    bounds = settings(max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Workers, settings=bounds)
