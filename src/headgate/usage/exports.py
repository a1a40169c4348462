"""A provider's export of usage or costs, read into claims: what it says it was used for and what it asks for that.

Known are OpenAI's and Anthropic's exports as JSON of their APIs and as CSV of their pages, and any CSV with the columns
of ours. Knows no ledger.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import Any

_DATED = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")
_DAY = timedelta(days=1)
_KINDS = ("prompt", "completion", "cached", "cache_write")
_CENTS = Decimal(100)


class ExportError(Exception):
    """The export cannot be read; the message says where and why."""


@dataclass(slots=True)
class Claim:
    """What an export says of a model in a span of time, or of one run.

    `model` is empty where it speaks of all together. Instants are milliseconds since the epoch. What it does not speak
    of is None. `usd` is exact; `rounding` says by how much it may be off, for exports round. `lines` are those of the
    file, or results of its JSON, counted from 1.
    """

    since: int
    until: int
    model: str
    run: str = ""
    requests: int | None = None
    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    usd: Decimal | None = None
    rounding: Decimal = Decimal(0)
    lines: list[int] = field(default_factory=list)

    def add(self, other: "Claim") -> None:
        """Take in another claim of the same model and span: an account's keys and projects are told apart there."""
        for name in ("requests", *_KINDS, "usd"):
            mine, its = getattr(self, name), getattr(other, name)
            setattr(self, name, its if mine is None else mine if its is None else mine + its)
        self.rounding += other.rounding
        self.lines += other.lines


def plain_name(model: str) -> str:
    """A model's name without its date: providers tell which version answered, callers seldom ask for one."""
    return _DATED.sub("", model)


def claims_of(raw: bytes) -> list[Claim]:
    """Every claim of an export, those of one model and span together. Raises ExportError."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ExportError("The export is not UTF-8 text.") from None
    found = _of_json(text) if text.lstrip()[:1] in ("{", "[") else _of_csv(text)
    claims: dict[tuple[int, int, str, str], Claim] = {}
    for claim in found:
        if claim.until <= claim.since and not claim.run:
            raise ExportError(f"What line or result {claim.lines[0]} speaks of ends before it begins.")
        claim.model = plain_name(claim.model)
        key = claim.since, claim.until, claim.model, claim.run
        if key in claims:
            claims[key].add(claim)
        else:
            claims[key] = claim
    if not claims:
        raise ExportError("The export holds no usage.")
    return list(claims.values())


# JSON


def _of_json(text: str) -> Iterator[Claim]:
    try:
        said = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ExportError(f"The export is not JSON: {error}.") from None
    pages = said if isinstance(said, list) else [said]
    line = 0
    for page in pages:
        buckets = page.get("data") if isinstance(page, dict) else None
        for bucket in buckets if isinstance(buckets, list) else [page]:
            results = bucket.get("results") if isinstance(bucket, dict) else None
            if not isinstance(results, list):
                raise ExportError("The export has no buckets with `results`, as the usage APIs give them.")
            for result in results:
                line += 1
                if not isinstance(result, dict):
                    raise ExportError(f"Result {line} is not an object.")
                yield _result(bucket, result, line)


def _result(bucket: Mapping[str, Any], result: Mapping[str, Any], line: int) -> Claim:
    where = f"result {line}"
    begin = bucket.get("start_time", bucket.get("starting_at"))
    end = bucket.get("end_time", bucket.get("ending_at"))
    if begin is None or end is None:
        raise ExportError(f"The bucket of {where} has no start and end.")
    claim = Claim(_instant(begin, where), _instant(end, where), str(result.get("model") or ""), lines=[line])
    if "amount" in result:
        _take_cost(claim, result, where)
    elif "uncached_input_tokens" in result:
        _take_anthropic(claim, result, where)
    else:
        _take_openai(claim, result, where)
    return claim


def _take_cost(claim: Claim, result: Mapping[str, Any], where: str) -> None:
    """OpenAI's amounts are objects, in USD; Anthropic's are texts, in cents."""
    amount = result["amount"]
    if isinstance(amount, dict):
        value, currency, scale = amount.get("value"), amount.get("currency", "usd"), Decimal(1)
        claim.model = claim.model or str(result.get("line_item") or "").partition(", ")[0]
    else:
        value, currency, scale = amount, result.get("currency", "USD"), _CENTS
    _take_amount(claim, value, str(currency), where, scale)


def _take_amount(claim: Claim, value: object, currency: str, where: str, scale: Decimal = Decimal(1)) -> None:
    if currency.lower() != "usd":
        raise ExportError(f"The amount of {where} is in {currency}; the ledger counts USD.")
    amount = _decimal(value, "amount", where)
    claim.usd = amount / scale
    claim.rounding = Decimal(1).scaleb(min(int(amount.as_tuple().exponent), 0)) / 2 / scale


def _take_openai(claim: Claim, said: Mapping[str, Any], where: str) -> None:
    claim.requests = _count(said, "num_model_requests", where)
    claim.prompt = _count(said, "input_tokens", where)
    claim.completion = _count(said, "output_tokens", where)
    claim.cached = _count(said, "input_cached_tokens", where)
    if claim.prompt is None:
        raise ExportError(f"There is no `input_tokens` in {where}.")
    if claim.completion is None:
        claim.completion = 0  # embeddings have none


def _take_anthropic(claim: Claim, said: Mapping[str, Any], where: str) -> None:
    written = said.get("cache_creation") or {}
    if not isinstance(written, dict):
        raise ExportError(f"The `cache_creation` of {where} is not an object.")
    claim.cached = _count(said, "cache_read_input_tokens", where) or 0
    claim.cache_write = sum(_count(written, name, where) or 0 for name in written)
    claim.prompt = (_count(said, "uncached_input_tokens", where) or 0) + claim.cached + claim.cache_write
    claim.completion = _count(said, "output_tokens", where) or 0


# CSV


def _of_csv(text: str) -> Iterator[Claim]:
    rows = csv.DictReader(io.StringIO(text))
    columns = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    take = _reader_for(set(columns))
    for row in rows:
        line = rows.line_num
        if None in row or any(row[name] is None for name in rows.fieldnames or ()):
            raise ExportError(f"Line {line} has not as many cells as there are columns.")
        cells = {short: row[name].strip() for short, name in columns.items()}
        if any(cells.values()):
            claim = take(cells, f"line {line}")
            claim.lines = [line]
            yield claim


def _reader_for(columns: set[str]) -> Callable[[Mapping[str, str], str], Claim]:
    if "usage_date_utc" in columns and "model_version" in columns:
        return _anthropic_row
    if columns >= {"start_time", "amount_value"}:
        return _cost_row
    if columns >= {"start_time", "input_tokens"} and "num_model_requests" in columns:
        return _openai_row
    numbers = {*_KINDS, "input_tokens", "output_tokens", "cost_usd"}
    if not columns & numbers:
        raise ExportError(f"No column says how much was used; there should be one of: {', '.join(sorted(numbers))}.")
    if not columns & {"run", "date", "start", "start_time"}:
        raise ExportError("No column says when; there should be `date`, `start` and `end`, or `run`.")
    return _general_row


def _openai_row(cells: Mapping[str, str], where: str) -> Claim:
    claim = Claim(*_span(cells, where), cells.get("model", ""))
    _take_openai(claim, cells, where)
    return claim


def _cost_row(cells: Mapping[str, str], where: str) -> Claim:
    claim = Claim(*_span(cells, where), cells.get("model") or cells.get("line_item", "").partition(", ")[0])
    _take_amount(claim, cells["amount_value"], cells.get("amount_currency") or "usd", where)
    return claim


def _anthropic_row(cells: Mapping[str, str], where: str) -> Claim:
    since, until = _day(cells["usage_date_utc"], where)
    claim = Claim(since, until, cells["model_version"])
    written = [name for name in cells if name.startswith("usage_input_tokens_cache_write")]
    claim.cached = _count(cells, "usage_input_tokens_cache_read", where) or 0
    claim.cache_write = sum(_count(cells, name, where) or 0 for name in written)
    claim.prompt = (_count(cells, "usage_input_tokens_no_cache", where) or 0) + claim.cached + claim.cache_write
    claim.completion = _count(cells, "usage_output_tokens", where) or 0
    return claim


def _general_row(cells: Mapping[str, str], where: str) -> Claim:
    """Columns of any export that names them: run; date, or start and end; model; numbers."""
    run = cells.get("run", "")
    since, until = (0, 0) if run else _span(cells, where)
    claim = Claim(since, until, cells.get("model", ""), run)
    claim.requests = _count(cells, "requests", where)
    claim.prompt = _count(cells, "prompt" if "prompt" in cells else "input_tokens", where)
    claim.completion = _count(cells, "completion" if "completion" in cells else "output_tokens", where)
    claim.cached, claim.cache_write = _count(cells, "cached", where), _count(cells, "cache_write", where)
    if cells.get("cost_usd"):
        _take_amount(claim, cells["cost_usd"], "usd", where)
    return claim


def _span(cells: Mapping[str, str], where: str) -> tuple[int, int]:
    if date := cells.get("date"):
        return _day(date, where)
    begin = cells.get("start") or cells.get("start_time", "")
    end = cells.get("end") or cells.get("end_time", "")
    if not begin:
        raise ExportError(f"There is no date and no start in {where}.")
    if not end:
        raise ExportError(f"There is a start without an end in {where}.")
    return _instant(begin, where), _instant(end, where)


def _day(text: str, where: str) -> tuple[int, int]:
    begin = _instant(text[:10], where)
    return begin, begin + int(_DAY.total_seconds() * 1000)


def _instant(value: object, where: str) -> int:
    """Seconds since the epoch, or ISO 8601, UTC unless it says otherwise."""
    text = str(value)
    try:
        if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
            return int(Decimal(text) * 1000)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ExportError(f"'{text[:40]}' in {where} is no moment.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _count(said: Mapping[str, Any], name: str, where: str) -> int | None:
    value = said.get(name)
    if value is None or value == "":
        return None
    number = _decimal(value, name, where)
    if number != number.to_integral_value() or number < 0:
        raise ExportError(f"`{name}` in {where} must be a whole number, 0 or more.")
    return int(number)


def _decimal(value: object, name: str, where: str) -> Decimal:
    try:
        number = Decimal(str(value))
    except DecimalException:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or abs(number) > 10**15:
        raise ExportError(f"`{name}` in {where} must be a number.")
    return number
