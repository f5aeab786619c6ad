"""The route of what owners have used: tokens and costs by day and model."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.shapes import usage as s
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.core.parts import NO_USAGE, Usage
from antiphon.errors import Forbidden, Invalid, NotFound
from antiphon.ports import USAGE_DAYS_KEPT

DAYS = 30
"""Number of days in an answer if the query names none."""
ROWS_MAX = 20_000
"""Maximum number of rows in an answer."""

EPOCH = date(1970, 1, 1)


async def read_usage(call: Call) -> Response:
    query: s.UsageQuery = call.query
    spending = call.instance.spending
    owner_id = await _owner_of(call, query.owner)
    last = _day("to", query.to) if query.to else EPOCH + timedelta(days=spending.today())
    first = _day("from", query.from_) if query.from_ else last - timedelta(days=DAYS - 1)
    if not 0 <= (last - first).days < USAGE_DAYS_KEPT:
        raise Invalid("from", f"a day that is not after `to`, at most {USAGE_DAYS_KEPT} days in all")
    found = await spending.read(owner_id, _number(first), _number(last), limit=ROWS_MAX + 1)
    if len(found) > ROWS_MAX:
        raise Invalid("from", f"the answer has more than {ROWS_MAX:,} rows; ask for fewer days")
    rows, total, calls, turns = [], NO_USAGE, 0, 0
    for row in found:
        total, calls, turns = total + row.usage, calls + row.calls, turns + row.turns
        day = (EPOCH + timedelta(days=row.day)).isoformat()
        rows.append({"day": day, "model": row.model, **_shown(row.usage, row.calls, row.turns)})
    answer = {
        "owner_id": owner_id,
        "currency": await spending.currency() or None,
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "rows": rows,
        "total": _shown(total, calls, turns),
        "budgets": [
            {"name": one.name, "limit": one.limit, "used": one.used, "resets_at": one.resets_at}
            for one in await spending.budgets_of(owner_id)
        ],
    }
    return JsonAnswer(answer)


async def _owner_of(call: Call, name: str) -> str:
    """The id of the owner whose usage is asked for. Raises `Forbidden` for another one, except to admins."""
    assert call.token is not None
    if not name or name == call.token.owner_name:
        return call.owner_id
    if not call.token.is_admin:
        raise Forbidden
    owner_id = await call.instance.store.find_owner(name)
    if owner_id is None:
        raise NotFound("owner")
    return owner_id


def _day(field: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day < EPOCH or len(text) != len("2026-11-30"):
        raise Invalid(field, "a day in UTC, as 2026-11-30")
    return day


def _number(day: date) -> int:
    return (day - EPOCH).days


def _shown(usage: Usage, calls: int, turns: int) -> dict[str, Any]:
    return {
        "calls": calls,
        "turns": turns,
        "input_tokens": usage.input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
        "reasoning_tokens": usage.reasoning_tokens or 0,
        "cache_creation_tokens": usage.cache_creation_tokens or 0,
        "cache_read_tokens": usage.cache_read_tokens or 0,
        "cost_micros": usage.cost_micros,
        "unpriced_tokens": usage.unpriced_tokens,
    }


ROUTES: tuple[Operation, ...] = (
    route("GET", "/usage", read_usage, Policy.OWNER, "What the owner has used: tokens and costs by day and model.",
          (200, s.UsageAnswer), query=s.UsageQuery),
)  # fmt: skip
