"""Keys: made, read, changed and taken away, each by somebody who may. Knows no HTTP and no SQL.

Whoever asks sees the keys of the tenants that the scopes name; others are not found. Nobody gives away a scope that he
does not have himself, nor gets hold of a key that has one.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import time

from headgate.core.errors import AlreadyExists, InvalidField, KeyNotFound, NotChangeable
from headgate.core.principal import Principal
from headgate.identity.acts import key_act
from headgate.identity.keys import KeyRing, is_weak, new_key
from headgate.identity.scopes import require, require_no_more, tenants_with
from headgate.identity.store import Change, Store
from headgate.identity.types import PLAIN, KeyChange, KeyQuery, KeyRecord, NewKey, with_changes

READ, WRITE = "keys:read", "keys:write"


@dataclass(frozen=True, slots=True)
class Issued:
    """A key with its text, which is told this once."""

    record: KeyRecord
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys; `total` is counted only when asked for."""

    records: list[KeyRecord]
    has_more: bool
    total: int | None = None


class Keys:
    """Every change is in force in every worker before its caller has the answer."""

    def __init__(self, store: Store, ring: KeyRing, clock: Callable[[], float] = time) -> None:
        self._store = store
        self._ring = ring
        self.clock = clock

    async def create(self, wanted: NewKey, by: Principal, text: str | None = None) -> Issued:
        """A new key, with a text of its own unless one is given."""
        require(by, WRITE, wanted.tenant)
        require_no_more(by, wanted.scopes or (), wanted.tenant)
        if self._ring.tenant(wanted.tenant) is None:
            raise InvalidField(f"There is no tenant '{wanted.tenant}'.", param="tenant")
        if text is not None and is_weak(text):
            raise InvalidField("The key is well known or shorter than 16 characters.", param="key")
        text = text or new_key()
        now = self.clock()
        record = KeyRecord(
            id=_new_id(now),
            digest=self._ring.digest(text.encode()),
            tenant=wanted.tenant,
            user=wanted.user or "",
            alias=wanted.alias or "",
            rights=with_changes(PLAIN, wanted),
            metadata=wanted.metadata or {},
            expires_at=_end(wanted, now),
            created_by=by.key_id,
            created_at=now,
            updated_at=now,
        )
        async with self._store.change() as change:
            await _refuse_alias(record, change)
            if self._ring.is_configured(record.digest) or await change.has_digest(record.digest):
                raise AlreadyExists("This key cannot be used, for it was given out before.", param="key")
            await change.add_key(record)
            await change.note(key_act("key.created", None, record))
        await self._ring.publish()
        return Issued(record, text)

    async def get(self, key_id: str, by: Principal) -> KeyRecord:
        require(by, READ)
        return _visible(await self._store.key(key_id), by, READ)

    async def find(self, text: str, by: Principal) -> KeyRecord:
        """By the key itself, or by its id."""
        require(by, READ)
        found = await self._store.key_with(self._ring.digest(text.encode())) or await self._store.key(text)
        return _visible(found, by, READ)

    async def own(self, who: Principal) -> KeyRecord:
        """The key that was asked with, which needs no scope; those of the configuration are not in the database."""
        return await self._store.key(who.key_id) or KeyRecord(who.key_id, b"", who.tenant, alias=who.alias)

    async def list(self, query: KeyQuery, by: Principal, *, count: bool = False) -> Page:
        require(by, READ)
        seen = replace(query, tenants=tenants_with(by, READ))
        records = await self._store.keys(seen)
        total = await self._store.count(seen) if count else None
        return Page(records[: query.limit], len(records) > query.limit, total)

    async def update(self, key_id: str, change: KeyChange, by: Principal) -> KeyRecord:
        def changed(old: KeyRecord) -> KeyRecord:
            given = change.model_fields_set
            require_no_more(by, change.scopes or (), old.tenant)
            return replace(
                old,
                user=(change.user or "") if "user" in given else old.user,
                alias=(change.alias or "") if "alias" in given else old.alias,
                rights=with_changes(old.rights, change),
                metadata=(change.metadata or {}) if "metadata" in given else old.metadata,
                expires_at=_end(change, self.clock()) if given & {"expires_at", "expires_in"} else old.expires_at,
            )

        return await self._changed(key_id, by, changed, "key.updated")

    async def block(self, key_id: str, by: Principal, *, blocked: bool = True) -> KeyRecord:
        act = "key.blocked" if blocked else "key.unblocked"
        return await self._changed(key_id, by, lambda old: replace(old, blocked=blocked), act)

    async def revoke(self, key_id: str, by: Principal) -> KeyRecord:
        """For good; the record stays to be read."""

        def revoked(old: KeyRecord) -> KeyRecord:
            return replace(old, revoked_at=self.clock(), previous_until=0.0)

        return await self._changed(key_id, by, revoked, "key.revoked")

    async def rotate(self, key_id: str, by: Principal, grace_seconds: float = 0.0, text: str | None = None) -> Issued:
        """A new text for the same key. The old one is good for the grace time, and one from before it no more."""
        if text is not None and is_weak(text):
            raise InvalidField("The key is well known or shorter than 16 characters.", param="new_key")
        text = text or new_key()
        digest = self._ring.digest(text.encode())

        def rotated(old: KeyRecord) -> KeyRecord:
            now = self.clock()
            kept = old.digest if grace_seconds > 0 else None
            until = now + grace_seconds if kept else 0.0
            return replace(old, digest=digest, previous=kept, previous_until=until, rotated_at=now)

        return Issued(await self._changed(key_id, by, rotated, "key.rotated"), text)

    async def delete(self, key_id: str, by: Principal) -> KeyRecord:
        """Forget the key; only its hash is kept, so that it is never given out again."""
        require(by, WRITE)
        async with self._store.change() as change:
            old = _visible(await change.key(key_id), by, WRITE)
            require_no_more(by, old.rights.scopes, old.tenant)
            await change.erase_key(key_id)
            await change.note(key_act("key.deleted", old, None))
        await self._ring.publish()
        return old

    async def _changed(
        self, key_id: str, by: Principal, edit: Callable[[KeyRecord], KeyRecord], action: str
    ) -> KeyRecord:
        require(by, WRITE)
        async with self._store.change() as change:
            old = _visible(await change.key(key_id), by, WRITE)
            require_no_more(by, old.rights.scopes, old.tenant)
            if old.revoked_at:
                raise NotChangeable(f"The key '{key_id}' is revoked, which is for good.")
            new = replace(edit(old), updated_at=self.clock())
            if new.alias != old.alias:
                await _refuse_alias(new, change)
            if new.digest != old.digest and (
                self._ring.is_configured(new.digest) or await change.has_digest(new.digest)
            ):
                raise AlreadyExists("This key cannot be used, for it was given out before.", param="new_key")
            await change.put_key(new)
            await change.note(key_act(action, old, new))
        await self._ring.publish()
        return new


def _visible(record: KeyRecord | None, by: Principal, needed: str) -> KeyRecord:
    held = tenants_with(by, needed)
    if record is None or (held is not None and record.tenant not in held):
        raise KeyNotFound("There is no such key.")
    return record


async def _refuse_alias(record: KeyRecord, change: Change) -> None:
    if record.alias and await change.has_alias(record.tenant, record.alias):
        raise AlreadyExists(f"The tenant '{record.tenant}' has a key '{record.alias}' already.", param="alias")


def _end(change: KeyChange, now: float) -> float:
    end = change.end(now)
    if end and end <= now:
        raise InvalidField("The key would have expired already.", param="expires_at")
    return end


def _new_id(now: float) -> str:
    """Ordered by time, and unique without asking anybody."""
    return f"key_{int(now * 1000):012x}{secrets.token_hex(6)}"
