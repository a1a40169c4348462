"""Keys: recognised by a keyed hash, never kept as text. Knows no HTTP and no files but the two it keeps itself.

A stolen table of hashes opens nothing without the pepper (HMAC-SHA-256, RFC 2104), which lies beside the database and
not in it.
"""

import asyncio
import gc
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic, time

from headgate.core.bounds import Bound
from headgate.core.errors import (
    DatabaseUnavailable,
    InvalidAuthorization,
    KeyBlocked,
    KeyExpired,
    MissingAuthorization,
    StartupError,
    UserForbidden,
)
from headgate.core.principal import DEFAULT_TENANT, Principal
from headgate.identity.hashing import KeyedHash
from headgate.identity.holders import Builder, TermsOf, no_terms
from headgate.identity.signal import Signal
from headgate.identity.types import Changed, Defaults, KeyInForce, Tenant

log = logging.getLogger(__name__)
_WELL_KNOWN = frozenset(("sk-1234", "sk-local-master", "changeme", "secret", "password", "test", "master"))
_SHORTEST = 16
_NOBODY = Tenant(DEFAULT_TENANT)
_RETRY_SECONDS = 1.0
_AT_ONCE = 1000


class KeyRing:
    """The table of all keys in force: those of the configuration, and those of the database once it follows one.

    Every worker has its own. It is brought up to date when the signal says that something changed; before each request
    ask `is_stale`, which costs one look into memory, and `await refresh()` if so.
    """

    def __init__(
        self,
        pepper: bytes,
        *,
        required: bool = True,
        tenants: Mapping[str, Tenant] | None = None,
        defaults: Defaults | None = None,
        terms_of: TermsOf = no_terms,
    ) -> None:
        self._hash = KeyedHash(pepper)
        self._required = required
        self._configured = dict(tenants or {})
        self._tenants = {DEFAULT_TENANT: _NOBODY, **self._configured}
        self._builder = Builder(defaults or Defaults(), terms_of)
        self._anyone = self._builder.anyone()
        self._holders: dict[bytes, Principal] = {}
        self._blocked: set[bytes] = set()
        self._own: dict[bytes, tuple[KeyInForce, bool]] = {}
        """Keys of the configuration, and whether each is a master key."""
        self._digests: dict[str, bytes] = {}
        self._previous: dict[str, bytes] = {}
        self._signal: Signal | None = None
        self._load: Callable[[int], AsyncIterator[Changed]] | None = None
        self._terms_changed: Callable[[], Awaitable[frozenset[str]]] | None = None
        self._on_new_budgets: Callable[[frozenset[str]], Awaitable[None]] | None = None
        self._new_budgets: set[str] = set()
        self._untuned: set[str] = set()
        """Tenants whose settings changed; it stays so when whoever waits for the change leaves in between."""
        self._count: Sequence[int] = (-1,)
        """The signal's, in its first place."""
        self._seen = -1
        self._revision = 0
        self._retry_at = 0.0
        self._refreshing = asyncio.Lock()

    def add(self, key: str, *, is_admin: bool = False, tenant: str = DEFAULT_TENANT) -> Principal:
        """A key of the configuration. Those of the database never replace it."""
        digest = self.digest(key.encode())
        known = KeyInForce(f"key_{digest.hex()[:12]}", digest, tenant)
        self._own[digest] = known, is_admin
        return self._let_in_own(digest)

    def recognise(self, key: bytes | None) -> Principal:
        """Whose key it is. Raises an Unauthenticated error that says why not.

        The table is looked up by a keyed hash that no caller can compute, so the time it takes tells nothing.
        """
        if key is not None:
            digest = self._hash.digest(key)
            who = self._holders.get(digest)
            if who is not None and (not who.expires_at or who.expires_at > time()):
                return who
            if self._required:
                raise self._refusal(digest, who)
        if self._required:
            raise MissingAuthorization("No key was sent.")
        return self._anyone

    def by_id(self, key_id: str) -> Principal | None:
        """The holder of a key that is in force, for work that was asked for earlier; None if there is none."""
        if not self._required and key_id == self._anyone.key_id:
            return self._anyone
        held = (who for who in list(self._holders.values()) if who.key_id == key_id)
        return next((who for who in held if not who.expires_at or who.expires_at > time()), None)

    def _refusal(self, digest: bytes, who: Principal | None) -> Exception:
        if who is not None:
            return KeyExpired("The key has expired.")
        if digest in self._blocked:
            return KeyBlocked("The key is blocked.")
        return InvalidAuthorization("The key is not known here.")

    def digest(self, key: bytes) -> bytes:
        """What is kept of a key."""
        return self._hash.digest(key)

    def is_configured(self, digest: bytes) -> bool:
        """Whether a key of this hash stands in the configuration."""
        return digest in self._own

    def tenant(self, tenant_id: str) -> Tenant | None:
        return self._tenants.get(tenant_id)

    def bounds_of_tenants(self) -> list[Bound]:
        """What holds for each tenant's keys together, where something does."""
        return [bound for tenant in self._tenants.values() for bound in self._builder.tenant_bounds(tenant)]

    @property
    def configured(self) -> Mapping[str, Tenant]:
        """The tenants of the configuration."""
        return self._configured

    @property
    def everyone(self) -> tuple[Bound, ...]:
        """What holds for all keys together."""
        return self._builder.everyone

    def for_user(self, who: Principal, user: str) -> Principal:
        """The same holder, asking for one of its users.

        Raises UserForbidden when the key belongs to another, and KeyBlocked for a user that is shut out.
        """
        if user == who.user or who.is_admin:
            return who if user == who.user else replace(who, user=user)
        if who.user:
            raise UserForbidden("This key belongs to another user.", param="x-user-id")
        bounds, known = who.bounds + self._builder.user_bounds(who.tenant, user), self._builder.user(who.tenant, user)
        if known is None:
            return replace(who, user=user, bounds=bounds)
        if known.blocked:
            raise KeyBlocked("The user is blocked.")
        return replace(who, user=user, bounds=bounds, of_user=known.rights.allow, deny=who.deny + known.rights.deny)

    async def follow(
        self,
        signal: Signal,
        load: Callable[[int], AsyncIterator[Changed]],
        terms_changed: Callable[[], Awaitable[frozenset[str]]] | None = None,
    ) -> None:
        """Learn all keys of a database, and from now on every change of them. Raises DatabaseUnavailable.

        `terms_changed` reads the settings of tenants anew and gives those that changed.
        """
        self._signal, self._load, self._terms_changed = signal, load, terms_changed
        self._count = signal.count
        seen = signal.read()
        gc.disable()  # many are made and all are kept: walking them again and again takes as long as making them
        try:
            await self._learn(load)
        finally:
            gc.enable()
        self._seen = seen

    def on_new_budgets(self, tell: Callable[[frozenset[str]], Awaitable[None]]) -> None:
        """From now on, tell of subjects that get their first budget for a period, before the change is in force."""
        self._new_budgets.clear()
        self._on_new_budgets = tell

    @property
    def bounds(self) -> Iterator[tuple[str, Bound]]:
        """(tenant, what holds for one of its keys, for a key's user or for itself), each once."""
        seen: set[str] = set()
        for who in list(self._holders.values()):
            for bound in who.bounds:
                if bound.subject not in seen:
                    seen.add(bound.subject)
                    yield who.tenant, bound
        for tenant in list(self._tenants.values()):
            for bound in self._builder.tenant_bounds(tenant):
                if bound.subject not in seen:
                    yield tenant.id, bound

    def user_bounds(self, tenant_id: str, user: str) -> tuple[Bound, ...]:
        """What holds for a user of a tenant, whatever the key."""
        return self._builder.user_bounds(tenant_id, user)

    @property
    def is_stale(self) -> bool:
        """Whether somebody changed a key or a tenant since the last look."""
        return self._count[0] != self._seen

    async def refresh(self) -> None:
        """Learn what changed. While the database cannot be read, the keys stay as they were last known."""
        if self._signal is None or self._load is None:
            return
        async with self._refreshing:
            seen = self._signal.read()
            if seen == self._seen or monotonic() < self._retry_at:
                return
            try:
                await self._learn(self._load)
            except DatabaseUnavailable as error:
                self._retry_at = monotonic() + _RETRY_SECONDS
                log.warning("changed keys are not known yet: %s", error.message)
            else:
                self._seen = seen

    async def publish(self) -> None:
        """Something was changed by this worker: learn it, and let all others learn it before their next request."""
        if self._signal is not None:
            self._signal.bump()
        await self.refresh()

    async def _learn(self, load: Callable[[int], AsyncIterator[Changed]]) -> None:
        if self._terms_changed is not None:
            self._untuned |= await self._terms_changed()
        if self._untuned:
            await self._retune(frozenset(self._untuned))
            self._untuned.clear()
        await self._learn_keys(load)
        if self._new_budgets and self._on_new_budgets is not None:
            await self._on_new_budgets(frozenset(self._new_budgets))
            self._new_budgets.clear()

    async def _retune(self, tenants: frozenset[str]) -> None:
        """The settings of tenants changed. Requests that come meanwhile wait for the end; streams in flight go on."""
        for tenant_id in tenants:
            self._builder.forget(tenant_id)
        self._anyone = self._builder.anyone()
        for number, (digest, who) in enumerate(list(self._holders.items())):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            tenant = self._tenants.get(who.tenant)
            if who.tenant in tenants and tenant is not None:
                self._let(digest, self._builder.retuned(who, tenant), who)

    def _let(self, digest: bytes, who: Principal, old: Principal | None) -> None:
        self._holders[digest] = who
        if self._on_new_budgets is not None and any(bound.budgets for bound in who.bounds):
            self._new_budgets |= _new_budgets(old.bounds if old else (), who.bounds)

    async def _learn_keys(self, load: Callable[[int], AsyncIterator[Changed]]) -> None:
        try:
            async for part in load(self._revision):
                self._take(part)
                revision = part.revision
        except LookupError:  # another database than before
            self._forget_all()
            async for part in load(0):
                self._take(part)
                revision = part.revision
        self._revision = revision

    def _take(self, part: Changed) -> None:
        for tenant_id, tenant in part.tenants.items():
            self._put_tenant(tenant_id, tenant)
        for name, user in part.users.items():
            self._builder.put_user(name, user)
        if part.tenants:
            for digest in self._own:
                self._let_in_own(digest)
        for key in part.keys:
            self._put_key(key)

    def _put_tenant(self, tenant_id: str, tenant: Tenant | None) -> None:
        self._builder.forget(tenant_id)
        if tenant_id in self._configured:
            return
        if tenant is not None:
            self._tenants[tenant_id] = tenant
        elif tenant_id == DEFAULT_TENANT:
            self._tenants[tenant_id] = _NOBODY
        else:
            self._tenants.pop(tenant_id, None)

    def _put_key(self, key: KeyInForce) -> None:
        old = None
        for known in (self._previous.pop(key.id, None), self._digests.pop(key.id, None)):
            if known is not None and known not in self._own:
                old = self._holders.pop(known, None) or old
                self._blocked.discard(known)
        if key.is_gone:
            return
        self._digests[key.id] = key.digest
        self._let_in(key, key.digest, old)
        if key.previous is not None and key.previous_until > time():
            self._previous[key.id] = key.previous
            ends = min(key.previous_until, key.expires_at or key.previous_until)
            self._let_in(replace(key, expires_at=ends), key.previous, old)

    def _let_in(self, key: KeyInForce, digest: bytes, old: Principal | None) -> None:
        tenant = self._tenants.get(key.tenant)
        if digest in self._own:
            return
        user = self._builder.user(key.tenant, key.user)
        if key.blocked or tenant is None or tenant.blocked or (user is not None and user.blocked):
            self._blocked.add(digest)
        else:
            self._let(digest, self._builder.holder(key, tenant), old)

    def _let_in_own(self, digest: bytes) -> Principal:
        """A tenant that is blocked shuts out its keys of the configuration as well, but never the master key."""
        key, is_admin = self._own[digest]
        tenant = self._tenants.get(key.tenant, _NOBODY)
        who = self._builder.holder(key, tenant, is_admin=is_admin)
        old = self._holders.pop(digest, None)
        self._blocked.discard(digest)
        if tenant.blocked and not is_admin:
            self._blocked.add(digest)
        else:
            self._let(digest, who, old)
        return who

    def _forget_all(self) -> None:
        self._revision = 0
        self._holders.clear()
        self._blocked.clear()
        self._digests.clear()
        self._previous.clear()
        self._tenants = {DEFAULT_TENANT: _NOBODY, **self._configured}
        self._builder.forget_users()
        for digest in self._own:
            self._let_in_own(digest)


def _new_budgets(old: tuple[Bound, ...], new: tuple[Bound, ...]) -> set[str]:
    """Subjects that have a budget for a period for which they had none."""
    known = {(bound.subject, one.period) for bound in old for one in bound.budgets}
    return {bound.subject for bound in new for one in bound.budgets if (bound.subject, one.period) not in known}


def is_weak(key: str) -> bool:
    """Whether a key is well known or shorter than 16 characters."""
    return key in _WELL_KNOWN or len(key) < _SHORTEST


def refuse_weak(keys: Iterable[tuple[str, str]]) -> None:
    """Raise StartupError for the first weak key of (name, key) pairs."""
    for name, key in keys:
        if is_weak(key):
            raise StartupError(
                f"{name} is well known or shorter than {_SHORTEST} characters, which is accepted on loopback only. "
                f"Use a longer one, for example: {new_key()}"
            )


def new_key() -> str:
    return f"sk-hg-{secrets.token_urlsafe(30)}"


def kept_secret(path: Path, make: str) -> str:
    """The secret in a file of mode 0600; written as `make` when the file is not there. Two starters agree on one.

    Raises StartupError when the file cannot be kept or holds nothing.
    """
    try:
        secret = _read_or_write(path, make)
    except OSError as error:
        raise StartupError(f"The secret in {path} cannot be kept: {error.strerror}. Set HEADGATE_DATA_DIR.") from None
    if not secret:
        raise StartupError(f"The file {path} is empty. Remove it, and a new secret is made.")
    return secret


def _read_or_write(path: Path, make: str) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_text(make + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
