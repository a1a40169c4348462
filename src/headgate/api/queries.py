"""What stands behind the question mark of an address."""

from starlette.requests import Request

from headgate.core.errors import InvalidField


def whole_number(request: Request, name: str, default: int, most: int) -> int:
    """A number from 1 in the query."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:20]) <= most):
        raise InvalidField(f"The parameter '{name}' must be a whole number from 1 to {most}.", param=name)
    return int(given)


def is_true(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("true", "1", "yes")
