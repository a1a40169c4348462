"""What the holder of a key may administer: scopes `resource:action[:tenant]`.

Without a tenant a scope holds for the key's own tenant; `*` stands for any resource, action or tenant. The master key
has every scope. Calling models needs none. Of `tools:…` the third part is a tool or a group of them; without it the
scope holds for all.
"""

from collections.abc import Iterable

from headgate.core.errors import ScopeMissing
from headgate.core.principal import Principal

ANY = "*"


def require(who: Principal, needed: str, tenant: str | None = None) -> None:
    """Raise ScopeMissing unless `needed`, such as `keys:write`, is held for a tenant; for some tenant if None."""
    held = tenants_with(who, needed)
    if held is None or (held if tenant is None else tenant in held):
        return
    where = f" for the tenant '{tenant}'" if tenant is not None and held else ""
    raise ScopeMissing(f"This needs the scope '{needed}'{where}.")


def tenants_with(who: Principal, needed: str) -> frozenset[str] | None:
    """For which tenants a scope is held; None for all."""
    if who.is_admin:
        return None
    tenants = {_tenant(scope, who) for scope in who.scopes if _covers(scope, needed)}
    return None if ANY in tenants else frozenset(tenants)


def may(who: Principal, needed: str, *names: str) -> bool:
    """Whether a scope that is held by name, such as `tools:execute`, is held for a thing that goes by these names."""
    if who.is_admin:
        return True
    for scope in who.scopes:
        if _covers(scope, needed):
            named = scope.split(":", 2)[2:]
            if not named or named[0] == ANY or named[0] in names:
                return True
    return False


def require_no_more(who: Principal, scopes: Iterable[str], tenant: str) -> None:
    """Raise ScopeMissing for a scope that who gives it away does not have for that tenant."""
    for scope in sorted(scopes):
        resource, action, *qualifier = scope.split(":", 2)
        if resource == "tools":
            if not may(who, f"{resource}:{action}", *(qualifier or (ANY,))):
                raise ScopeMissing(
                    f"Only a key that has the scope '{scope}' may hand it on or change a key that has it."
                )
            continue
        held = tenants_with(who, f"{resource}:{action}")
        if held is not None and (qualifier[0] if qualifier else tenant) not in held:
            raise ScopeMissing(f"Only a key that has the scope '{scope}' may hand it on or change a key that has it.")


def _covers(scope: str, needed: str) -> bool:
    return all(mine in (ANY, asked) for mine, asked in zip(scope.split(":", 2), needed.split(":"), strict=False))


def _tenant(scope: str, who: Principal) -> str:
    parts = scope.split(":", 2)
    return parts[2] if len(parts) > 2 else who.tenant
