"""Which value of a setting holds for a tenant: its own over the file's, over the process's, over the built-in one.

Knows no database and no HTTP: the rows are put in, and read again only when somebody changed one.
"""

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headgate.core.errors import (
    HeadgateError,
    InvalidField,
    StartupError,
    TenantConfigKeyReadonly,
    TenantConfigKeyUnknown,
    TenantConfigLoosens,
)
from headgate.core.terms import NO_TERMS, Terms
from headgate.settings.types import Read, Resolved, Row, Setting, Source, Standing

log = logging.getLogger(__name__)
_NOTHING: Mapping[str, Any] = {}
TermsOf = Callable[[Mapping[str, Any], Mapping[str, Any]], Terms]
"""What values mean for requests: those in force that a tenant changes, and its own as they stand."""


class Registry:
    """All settings by key, in their order."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        self.settings = {one.key: one for one in settings}

    def find(self, key: str) -> Setting:
        """Raises TenantConfigKeyUnknown, which tells the names there are."""
        found = self.settings.get(key)
        if found is None:
            near = difflib.get_close_matches(key, self.settings, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            names = ", ".join(self.settings)
            raise TenantConfigKeyUnknown(f"There is no setting '{key}'.{hint} The settings are: {names}.", param=key)
        return found

    def writable(self, key: str) -> Setting:
        """A setting that may be changed at run time; raises TenantConfigKeyReadonly for another."""
        found = self.find(key)
        if not found.is_writable:
            raise TenantConfigKeyReadonly(f"The setting '{key}' is read-only here. {_where(found)}", param=key)
        return found

    def in_file(self, key: str, value: Any) -> Any:
        """A value of the file's `settings`; raises an error that says why it cannot stand there."""
        found = self.find(key)
        if "yaml" not in found.levels:
            raise InvalidField(f"The setting '{key}' cannot stand in the file.", param=key)
        if found.of_record:
            field = key if key in ("budgets", "environment") else "models" if key.startswith("models.") else "rate"
            raise InvalidField(f"Write '{key}' as the tenant's own field `{field}`.", param=key)
        return found.checked(value)


def _where(setting: Setting) -> str:
    if "yaml" in setting.levels:
        return "It is set in the configuration file, under the tenant."
    return "It is the same for everybody."


class Cascade:
    """`process` and `ceilings` hold what the tree says by key, where it says anything; `file` by tenant and key."""

    def __init__(
        self,
        registry: Registry,
        terms_of: TermsOf,
        process: Mapping[str, Any] = _NOTHING,
        file: Mapping[str, Mapping[str, Any]] = _NOTHING,
        ceilings: Mapping[str, Any] = _NOTHING,
    ) -> None:
        """Raises StartupError for a value of the file that cannot be."""
        self.registry = registry
        self._terms_of = terms_of
        self._process = process
        self._ceilings = ceilings
        self._file = {tenant: _read(registry, tenant, values) for tenant, values in file.items()}
        self._own: dict[str, dict[str, Any]] = {}
        self._terms: dict[str, Terms] = {}
        self.revision = -1

    def resolve(self, key: str, tenant: str, standing: Standing) -> Resolved:
        """`standing`: what the tenant's own record says."""
        setting = self.registry.find(key)
        given = self._given(setting, tenant, standing)
        value, source = self._last(given)
        own = self._own.get(tenant, _NOTHING)
        if key not in own:
            return Resolved(setting, value, source, given)
        met = self._met(setting, value, own[key])
        is_own = met == own[key] or met != value
        return Resolved(setting, met, "db" if is_own else source, {**given, "db": own[key]})

    def checked(self, key: str, value: Any, tenant: str, standing: Standing) -> Any:
        """A value that the tenant may set for itself, as JSON data; raises an error that names the key."""
        setting = self.registry.writable(key)
        own = setting.checked(value)
        complaint = ""
        ceiling = self._ceilings.get(key)
        if ceiling is not None and own > ceiling:
            complaint = f"at most {ceiling}"
        elif setting.narrowing is not None:
            complaint = setting.narrowing.complaint(self._last(self._given(setting, tenant, standing))[0], own)
        if complaint:
            raise TenantConfigLoosens(f"The setting '{key}' has to be {complaint} for this tenant.", param=key)
        return own

    def terms(self, tenant: str) -> Terms:
        """What the settings mean for the tenant's requests."""
        found = self._terms.get(tenant)
        if found is None:
            own, said = self._own.get(tenant, _NOTHING), self._file.get(tenant, _NOTHING)
            if not (own or said):
                return NO_TERMS
            found = self._terms[tenant] = self._terms_of(self._in_force(tenant), own)
        return found

    def take(self, read: Read) -> frozenset[str]:
        """Learn rows; the tenants for which something may have changed."""
        changed = set(self._own) if read.is_all else set()
        if read.is_all:
            self._own = {}
        for row in read.rows:
            changed.add(row.tenant)
            self._put(row)
        for tenant in changed:
            self._terms.pop(tenant, None)
        self.revision = read.revision
        return frozenset(changed)

    def own(self, tenant: str) -> Mapping[str, Any]:
        """The tenant's own values."""
        return self._own.get(tenant, _NOTHING)

    def file_values(self, key: str) -> dict[str, Any]:
        """What the file's `settings` say of a key, by tenant."""
        return {tenant: values[key] for tenant, values in self._file.items() if key in values}

    def _put(self, row: Row) -> None:
        own = self._own.setdefault(row.tenant, {})
        own.pop(row.key, None)
        if row.value is None:
            return
        try:
            own[row.key] = self.registry.writable(row.key).checked(row.value)
        except HeadgateError as error:  # of another version of this program
            log.warning("a setting of tenant %s is left out: %s", row.tenant, error.message)

    def _given(self, setting: Setting, tenant: str, standing: Standing) -> dict[Source, Any]:
        """What the levels above the tenant's own say."""
        key = setting.key
        given: dict[Source, Any] = {"builtin": setting.default}
        if "process" in setting.levels and key in self._process:
            given["process"] = self._process[key]
        if setting.of_record:
            if key in standing.values:
                given[standing.source] = standing.values[key]
        elif key in (said := self._file.get(tenant, _NOTHING)):
            given["yaml"] = said[key]
        return given

    @staticmethod
    def _last(given: Mapping[Source, Any]) -> tuple[Any, Source]:
        source = list(given)[-1]
        return given[source], source

    def _met(self, setting: Setting, above: Any, own: Any) -> Any:
        ceiling = self._ceilings.get(setting.key)
        own = own if ceiling is None else min(own, ceiling)
        return own if setting.narrowing is None else setting.narrowing.meet(above, own)

    def _in_force(self, tenant: str) -> dict[str, Any]:
        """Values set for this tenant, by the file's `settings` or by itself, that hold for its requests."""
        keys = self._file.get(tenant, _NOTHING).keys() | self._own.get(tenant, _NOTHING).keys()
        resolved = [self.resolve(key, tenant, _NO_RECORD) for key in keys]
        return {
            one.setting.key: one.value for one in resolved if not one.setting.of_record and one.source in ("yaml", "db")
        }


_NO_RECORD = Standing()


def _read(registry: Registry, tenant: str, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {key: registry.in_file(key, value) for key, value in values.items()}
    except HeadgateError as error:
        raise StartupError(f"The settings of tenant '{tenant}': {error.message}") from None
