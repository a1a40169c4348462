"""Which models the holder of a key may use. The tenant's lists hold besides the key's own, so keys can only narrow.

What the tenant set for itself at run time holds besides both.
"""

import re
from functools import lru_cache

from headgate.core.errors import ModelForbidden
from headgate.core.principal import Principal

_MOST_REMEMBERED = 8192


def may_use(who: Principal, *names: str) -> bool:
    """Whether a model may be used that goes by these names: the one asked for, its own, and its groups."""
    if not who.is_choosy:
        return True
    terms = who.terms
    if _any(who.deny, names) or _any(terms.deny, names):
        return False
    lists = (who.allow, who.within, who.of_user, terms.allow)
    return all(_any(allowed, names) for allowed in lists if allowed)


def refuse_model(who: Principal, *names: str) -> None:
    """Raise ModelForbidden unless the model may be used; the first name is the one that was asked for."""
    if not may_use(who, *names):
        raise ModelForbidden(f"This key may not use the model '{names[0]}'.", param="model")


def _any(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return bool(patterns) and any(_matches(patterns, name) for name in names)


@lru_cache(_MOST_REMEMBERED)
def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return _expression(patterns).fullmatch(name) is not None


@lru_cache(_MOST_REMEMBERED)
def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Only `*` is special; case counts."""
    texts = (".*?".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return re.compile("|".join(f"(?:{text})" for text in texts), re.DOTALL)
