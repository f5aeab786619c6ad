"""`GET /usage`, and how sends beyond a budget or a rate limit are refused."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import Turn
from antiphon.ports import DayUsage

from .api_client import ApiClient, open_api
from .wire import close_wires

pytestmark = pytest.mark.anyio

PRICES = {"currency": "EUR", "acme:big": {"input": 10, "output": 100, "cached_input": 1}}
_owner_numbers = itertools.count(1)


async def metered(turn: Turn) -> AsyncIterator[str]:
    await turn.start_call(model="big", provider="acme")
    turn.add_usage(input_tokens=100, cache_read_tokens=50, output_tokens=20)
    if turn.text == "both":
        await turn.start_call(model="odd", provider="acme")
        turn.add_usage(input_tokens=7, output_tokens=3)
    yield "answer"


@pytest.fixture(scope="module")
async def limited_api(anyio_backend: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiClient]:
    budgets = {"tokens_per_day": 250, "messages_per_minute": 4}
    data = tmp_path_factory.mktemp("usage") / "data"
    async with open_api(data=data, agent=metered, prices=PRICES, budgets=budgets) as opened:
        yield opened


@pytest.fixture
async def api(limited_api: ApiClient) -> AsyncIterator[ApiClient]:
    owner = await limited_api.as_owner(f"owner {next(_owner_numbers)}")
    yield owner
    await owner.close_connections()
    await close_wires()


async def test_usage_is_shown_by_day_and_model_with_its_cost(api: ApiClient) -> None:
    chat_id = await api.make_chat("both")
    chat = await api.rested(chat_id)
    assert chat["usage"] == {
        "input_tokens": 107,
        "output_tokens": 23,
        "cache_read_tokens": 50,
        "cost_micros": 50 * 10 + 50 + 20 * 100,
        "priced_tokens": 120,
    }
    answer = (await api.ask("GET", "/usage")).json
    assert (answer["currency"], answer["owner_id"]) == ("EUR", api.owner_id)
    big, odd = answer["rows"]
    assert (big["day"], big["model"], big["calls"], big["turns"]) == (answer["last_day"], "acme:big", 1, 1)
    assert (big["input_tokens"], big["cache_read_tokens"], big["output_tokens"]) == (100, 50, 20)
    assert (big["cost_micros"], big["unpriced_tokens"]) == (2_550, 0)
    assert (odd["model"], odd["turns"], odd["cost_micros"], odd["unpriced_tokens"]) == ("acme:odd", 0, None, 10)
    assert answer["total"]["cost_micros"] == 2_550
    assert answer["total"]["unpriced_tokens"] == 10
    (budget,) = answer["budgets"]
    assert (budget["name"], budget["limit"], budget["used"]) == ("tokens_per_day", 250, 130)


async def test_only_an_admin_reads_the_usage_of_another_owner(api: ApiClient) -> None:
    await api.rested(await api.make_chat("hello"))
    name = f"owner {next(_owner_numbers) - 1}"
    as_admin = await api.ask("GET", f"/usage?owner={name.replace(' ', '%20')}", token=api.admin_token)
    assert as_admin.json["owner_id"] == api.owner_id
    assert as_admin.json["total"]["turns"] == 1
    assert (await api.ask("GET", f"/usage?owner={name.replace(' ', '%20')}")).status == 200, "their own"
    other = await api.ask("GET", "/usage?owner=admin")
    assert (other.status, other.code) == (403, "forbidden")
    missing = await api.ask("GET", "/usage?owner=missing", token=api.admin_token)
    assert (missing.status, missing.code) == (404, "not_found")
    own = await api.ask("GET", "/usage", token=api.admin_token)
    assert own.json["rows"] == []


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "to=20261130",
        "from=2026-11-30&to=2026-11-29",
        "from=2020-01-01&to=2026-01-01",
        "to=0001-01-01",
    ],
)
async def test_days_that_cannot_be_meant_are_refused(api: ApiClient, query: str) -> None:
    answer = await api.ask("GET", f"/usage?{query}")
    assert (answer.status, answer.code) == (422, "invalid")


async def test_only_the_asked_days_are_shown(api: ApiClient) -> None:
    rows = [DayUsage(owner_id=api.owner_id, day=day, model="m", calls=day) for day in (20_000, 20_001, 20_002)]
    await api.instance.store.add_usage(rows)
    answer = (await api.ask("GET", "/usage?from=2024-10-05&to=2024-10-06")).json
    assert [row["day"] for row in answer["rows"]] == ["2024-10-05", "2024-10-06"]
    assert answer["total"]["calls"] == 20_001 + 20_002


async def test_a_message_beyond_the_budget_is_refused_with_429(api: ApiClient) -> None:
    chat_id = await api.make_chat("hello")
    await api.rested(chat_id)
    first = await api.send(chat_id, "again", client_message_id="k")
    await api.rested(chat_id)
    await api.rested(await api.make_chat())  # without a message, a chat may be created
    assert (await api.send(chat_id, "once more")).status == 201, "240 of 250 are used"
    await api.rested(chat_id)
    refused = await api.send(chat_id, "and again")
    assert (refused.status, refused.code) == (429, "budget_exhausted")
    error = refused.json["error"]
    assert (error["limit_name"], error["limit"], error["used"]) == ("tokens_per_day", 250, 360)
    assert "360 of 250 tokens" in error["message"]
    assert error["resets_at"] in error["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 24 * 3600
    repeat = await api.send(chat_id, "again", client_message_id="k")
    assert (repeat.status, repeat.json) == (first.status, first.json)
    assert (await api.ask("POST", f"/chats/{chat_id}/retry", {})).code == "budget_exhausted"
    assert (await api.ask("POST", "/chats", {"content": "another"})).code == "budget_exhausted"
    metrics = await api.ask("GET", "//metrics", token=api.admin_token)
    assert 'antiphon_limited_total{limit="tokens_per_day"}' in metrics.body.decode()
    assert api.owner_id not in metrics.body.decode()


async def test_a_message_beyond_the_rate_is_refused_with_429(api: ApiClient) -> None:
    chat_id = await api.make_chat()
    answers = [await api.send(chat_id, str(number), when_busy="steer") for number in range(5)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused, "unless a minute has begun in between"
    assert refused[-1].code in ("rate_limited", "budget_exhausted")
    limited = [answer for answer in refused if answer.code == "rate_limited"]
    if limited:
        error = limited[0].json["error"]
        assert (error["limit_name"], error["limit"], error["used"]) == ("messages_per_minute", 4, 4)
        assert 0 < int(limited[0].headers["retry-after"]) <= 60
