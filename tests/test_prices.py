"""Prices and budgets are read exactly, and the cost of a call is rounded once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from antiphon.budgets import Budgets
from antiphon.core.model_usage import MODELS_MAX, OTHER_MODELS, ModelUsage, added, total_of
from antiphon.core.parts import TOKENS_MAX, Usage
from antiphon.errors import Invalid
from antiphon.options import Options
from antiphon.prices import COST_MICROS_MAX, Price, Prices, amount_text

GPT = {"input": 0.15, "output": "0.60", "cached_input": Decimal("0.075")}


def test_amounts_are_taken_exactly_as_they_are_written() -> None:
    prices = Prices.make({"currency": "EUR", "openai:gpt": GPT, "free": {"input": 0, "output": 0}})
    assert prices.currency == "EUR"
    assert prices.models["openai:gpt"] == Price(
        input=150_000, output=600_000, cached_input=75_000, cache_write=150_000
    )
    assert prices.models["free"] == Price(input=0, output=0, cached_input=0, cache_write=0)
    assert Prices.make({}).currency == "USD"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"currency": "US $"}, "prices.currency"),
        ({"currency": 3}, "prices.currency"),
        ({"m": 3}, "prices.m"),
        ({"m": {"input": 1}}, "prices.m.output"),
        ({"m": {"input": 1, "output": 1, "outputs": 1}}, "prices.m.outputs"),
        ({"m": {"input": -1, "output": 1}}, "prices.m.input"),
        ({"m": {"input": True, "output": 1}}, "prices.m.input"),
        ({"m": {"input": "dear", "output": 1}}, "prices.m.input"),
        ({"m": {"input": float("nan"), "output": 1}}, "prices.m.input"),
        ({"m": {"input": 0.0000001, "output": 1}}, "prices.m.input"),
        ({"m": {"input": "1e99", "output": 1}}, "prices.m.input"),
        ({f"m{number}": {"input": 1, "output": 1} for number in range(1_001)}, "prices"),
    ],
)
def test_a_price_that_cannot_be_meant_is_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        Prices.make(given)
    assert refused.value.field == field


def test_each_kind_of_token_has_its_price() -> None:
    prices = Prices.make({"m": {"input": 3, "output": 15, "cached_input": "0.30", "cache_write": "3.75"}})
    usage = Usage(input_tokens=1_000, output_tokens=10, cache_read_tokens=500, cache_creation_tokens=200)
    priced = prices.priced("m", usage)
    assert priced.cost_micros == 300 * 3 + 150 + 750 + 150
    assert (priced.priced_tokens, priced.unpriced_tokens) == (1_010, 0)


def test_a_model_without_a_price_has_an_unknown_cost_and_sums_say_so() -> None:
    prices = Prices.make({"m": GPT})
    unknown = prices.priced("m-2", Usage(input_tokens=5, output_tokens=5))
    assert (unknown.cost_micros, unknown.unpriced_tokens) == (None, 10)
    assert prices.priced("m", Usage(total_tokens=5)).cost_micros is None, "the provider did not say which"
    assert prices.priced("m", Usage(input_tokens=0)).cost_micros == 0, "that one is known"
    both = unknown + prices.priced("m", Usage(input_tokens=100))
    assert (both.cost_micros, both.priced_tokens, both.unpriced_tokens) == (15, 100, 10)


def test_a_cost_is_rounded_once_and_sums_do_not_drift() -> None:
    prices = Prices.make({"m": {"input": "0.1", "output": "0.3"}})
    calls = [prices.priced("m", Usage(input_tokens=tokens, output_tokens=0)) for tokens in (4, 5, 14, 15)]
    assert [call.cost_micros for call in calls] == [0, 1, 1, 2], "a half is rounded up"
    million = [ModelUsage(model="m", calls=1, usage=prices.priced("m", Usage(input_tokens=7)))] * 10_000
    assert total_of(million).cost_micros == 10_000


def test_a_cost_has_a_maximum() -> None:
    prices = Prices.make({"m": {"input": 1_000_000, "output": 1_000_000}})
    assert prices.priced("m", Usage(input_tokens=TOKENS_MAX)).cost_micros == COST_MICROS_MAX


def test_a_cost_that_an_agent_reports_is_kept() -> None:
    usage = Prices.make({"m": GPT}).priced("m", Usage(input_tokens=3, output_tokens=4, cost_micros=99))
    assert (usage.cost_micros, usage.unpriced_tokens) == (99, 0)


def test_usage_names_a_bounded_number_of_models() -> None:
    used = added([ModelUsage(model=f"m{number}", calls=1) for number in range(50)])
    assert len(used) == MODELS_MAX + 1
    assert used[-1] == ModelUsage(model=OTHER_MODELS, calls=50 - MODELS_MAX)


@pytest.mark.parametrize(
    ("micros", "text"), [(0, "0.00"), (1, "0.000001"), (1_500_000, "1.50"), (12_345_678_900_000, "12,345,678.90")]
)
def test_an_amount_is_shown_exactly(micros: int, text: str) -> None:
    assert amount_text(micros) == text


def test_budgets_are_whole_numbers_and_an_amount() -> None:
    budgets = Budgets.make({"tokens_per_day": 5, "cost_per_day": 2.5, "messages_per_minute": 3})
    assert budgets == Budgets(tokens_per_day=5, cost_micros_per_day=2_500_000, messages_per_minute=3)
    assert not Budgets().has_budget
    assert not Budgets().has_rate


@pytest.mark.parametrize(
    "given",
    [{"tokens": 5}, {"tokens_per_day": 0}, {"tokens_per_day": 1.5}, {"turns_per_minute": True}, {"cost_per_day": 0}],
)
def test_a_budget_that_cannot_be_meant_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        Budgets.make(given)
    assert refused.value.field == f"budgets.{next(iter(given))}"


def test_a_budget_of_money_requires_prices() -> None:
    with pytest.raises(Invalid) as refused:
        Options.make({"budgets": {"cost_per_day": 1}})
    assert refused.value.field == "budgets.cost_per_day"
    options = Options.make({"budgets": {"cost_per_day": 1}, "prices": {"m": {"input": 1, "output": 1}}})
    assert options.budgets.cost_micros_per_day == 1_000_000
