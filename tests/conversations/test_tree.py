"""Whatever is done to conversations, they agree with a plain reference: lists, copied where the engine shares items."""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from headgate.conversations.store import Heads
from headgate.conversations.types import Conversation, New, Owner, Query, Summary, new_id
from headgate.core.state_errors import ConversationMoved, ConversationNotFound
from headgate.db.engine import Database, open_database
from headgate.db.migrate import migrate
from tests.harness.databases import on_each_database, url_of
from tests.requirements import covers

pytestmark = [covers("79", "160"), on_each_database]
OWNER, STRANGER = Owner("acme", "ann"), Owner("acme", "bob")


@dataclass
class Reference:
    """A conversation as a list of items, and what a model is told of it."""

    head: Conversation
    items: list[str] = field(default_factory=list)
    summaries: list[tuple[int, int, int, tuple[int, ...]]] = field(default_factory=list)
    """(position of the summary, first and last covered, kept)"""

    def told(self) -> list[str]:
        if not self.summaries:
            return list(self.items)
        place, first, last, keeps = self.summaries[-1]
        at = dict(enumerate(self.items, start=1))
        rest = [at[number] for number in at if number > last and number != place]
        return [*(at[n] for n in range(1, first)), at[place], *(at[n] for n in keeps), *rest]

    def until(self, position: int) -> tuple[list[str], list[tuple[int, int, int, tuple[int, ...]]]]:
        return self.items[:position], [one for one in self.summaries if one[0] <= position]


def item(text: str) -> New:
    return New({"id": new_id("msg"), "type": "message", "role": "user", "content": text})


class Tree(RuleBasedStateMachine):
    """Runs each rule on the engine and on the reference."""

    heads_of = Bundle("heads")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.alive: list[Reference] = []
        self.made = 0

    @initialize()
    def begin(self) -> None:
        self.database: Database = open_database(url_of(Path(self.folder.name)))
        self.run(migrate(self.database))
        self.heads = Heads(self.database)

    def run(self, doing: Any) -> Any:
        return self.loop.run_until_complete(doing)

    def text(self) -> str:
        self.made += 1
        return f"item {self.made}"

    @rule(target=heads_of)
    def create(self) -> Reference:
        made = Reference(self.run(self.heads.create(OWNER)))
        self.alive.append(made)
        return made

    @rule(one=heads_of, count=st.integers(1, 4))
    def append(self, one: Reference, count: int) -> None:
        texts = [self.text() for _ in range(count)]
        one.head, _ = self.run(self.heads.append(one.head, [item(text) for text in texts]))
        one.items += texts

    @rule(one=heads_of)
    def append_to_what_was_read_before(self, one: Reference) -> None:
        old = one.head
        self.append(one, 1)
        with pytest.raises(ConversationMoved):
            self.run(self.heads.append(old, [item("never")]))

    @rule(one=heads_of)
    def two_turns_at_once(self, one: Reference) -> None:
        async def both() -> list[Any]:
            adding = [self.heads.append(one.head, [item(text)]) for text in texts]
            return await asyncio.gather(*adding, return_exceptions=True)

        texts = [self.text(), self.text()]
        done = self.run(both())
        assert sorted(type(each).__name__ for each in done) == ["ConversationMoved", "tuple"]
        number = next(number for number, each in enumerate(done) if type(each) is tuple)
        one.head = done[number][0]
        one.items.append(texts[number])

    @rule(one=heads_of, data=st.data())
    def rewind(self, one: Reference, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(one.items)))
        one.head = self.run(self.heads.rewind(one.head, position))
        one.items, one.summaries = one.until(position)

    @precondition(lambda self: any(one.items for one in self.alive))
    @rule(one=heads_of, data=st.data())
    def remove(self, one: Reference, data: st.DataObject) -> None:
        if not one.items:
            return
        position = data.draw(st.integers(1, len(one.items)))
        taken, *later = self.run(self.heads.items(one.head, position - 1))
        one.head = self.run(self.heads.remove(one.head, taken))
        summaries = {place for place, *_ in one.summaries}
        rest = [text for number, text in enumerate(one.items, start=1) if number > position and number not in summaries]
        before, one.summaries = one.until(position - 1)
        one.items = [*before, *rest]
        again = self.run(self.heads.items(one.head, position - 1))
        assert {each.id for each in again} <= {each.id for each in later}

    @rule(target=heads_of, one=heads_of, data=st.data())
    def fork(self, one: Reference, data: st.DataObject) -> Reference:
        position = data.draw(st.integers(0, len(one.items)))
        made = Reference(self.run(self.heads.fork(one.head, position)), *one.until(position))
        self.alive.append(made)
        return made

    @rule(one=heads_of, data=st.data())
    def compact(self, one: Reference, data: st.DataObject) -> None:
        last = data.draw(st.integers(0, len(one.items)))
        if not last:
            return
        first = data.draw(st.integers(1, last))
        keeps = tuple(sorted(data.draw(st.sets(st.integers(first, last), max_size=3))))
        text = self.text()
        summary = Summary(item(text).data, (first, last), keeps, {"tokens_before": 9})
        one.head = self.run(self.heads.compact(one.head, summary))
        one.items.append(text)
        one.summaries.append((len(one.items), first, last, keeps))

    @rule(one=consumes(heads_of))
    def delete(self, one: Reference) -> None:
        self.run(self.heads.delete(one.head))
        self.alive.remove(one)
        with pytest.raises(ConversationNotFound):
            self.run(self.heads.get(one.head.id, OWNER))

    @precondition(lambda self: self.alive)
    @rule()
    def strangers_see_nothing(self) -> None:
        assert self.run(self.heads.page(STRANGER, Query())) == []
        with pytest.raises(ConversationNotFound):
            self.run(self.heads.get(self.alive[0].head.id, STRANGER))

    @invariant()
    def agrees(self) -> None:
        for one in self.alive:
            head = self.run(self.heads.get(one.head.id, OWNER))
            assert head == one.head
            read = self.run(self.heads.items(head))
            assert [each.data["content"] for each in read] == one.items
            assert [each.position for each in read] == list(range(1, len(one.items) + 1))
            assert [each.data["content"] for each in self.run(self.heads.told(head))] == one.told()
        listed = self.run(self.heads.page(OWNER, Query(limit=100))) if self.made or self.alive else []
        assert {each.id for each in listed} == {one.head.id for one in self.alive}

    def teardown(self) -> None:
        if self.made or self.alive:
            assert self.run(self.heads.erase(OWNER)) == len(self.alive)
        self.run(self.database.close())
        self.loop.close()
        self.folder.cleanup()


def test_the_engine_agrees_with_the_reference_whatever_is_done() -> None:
    bounds = settings(max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Tree, settings=bounds)
