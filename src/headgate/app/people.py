"""What is kept of people, part by part: the one list that exports and erasures go through."""

from headgate.api.gate import Gate
from headgate.audit.held import Held as HeldActs
from headgate.conversations.store.held import Held as HeldConversations
from headgate.core.ports import Holding, Whose
from headgate.core.principal import Principal
from headgate.db.engine import Database
from headgate.identity.people import People
from headgate.identity.store import Store
from headgate.knowledge.store.held import Held as HeldKnowledge
from headgate.settings.held import Held as HeldSettings
from headgate.settings.store import Store as SettingStore
from headgate.usage.held import Held as HeldAttempts
from headgate.usage.ledger import Ledger
from headgate.usage.store import AttemptStore

__all__ = ["people_of"]


def people_of(gate: Gate, database: Database, attempts: AttemptStore, ledger: Ledger) -> People:
    """The acts come last: they tell of what was done to the others."""
    assert gate.audit is not None
    acts = HeldActs(gate.audit)
    holdings: list[Holding] = [
        HeldConversations(database),
        HeldKnowledge(database),
        HeldSettings(SettingStore(database)),
        HeldAttempts(attempts, ledger.drain),
        acts,
    ]

    async def before(whose: Whose, by: Principal) -> None:
        await ledger.drain()
        if whose.user is None and gate.settings is not None:
            await gate.settings.clear(whose.tenant, by.key_id)

    return People(Store(database, gate.audit), gate.keys, holdings, before, lambda: acts.was)
