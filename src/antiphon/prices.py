"""Prices of models, and the cost of a model call.

Money is whole micro-units: millionths of the unit of one currency. A price is per million tokens, so the cost of one
call is a product of whole numbers, rounded once to the nearest micro-unit; sums of costs are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec.structs import replace

from antiphon.core.parts import TOKENS_MAX, Usage
from antiphon.core.values import Value
from antiphon.errors import Invalid

MICROS = 1_000_000
"""Micro-units in the unit of a currency, and tokens that a price is for."""
PRICES_MAX = 1_000
"""Maximum number of models with a price."""
PRICE_MAX = 1_000_000
"""Maximum price of a million tokens, in units of the currency."""
COST_MICROS_MAX = TOKENS_MAX
"""Maximum cost of one model call, in micro-units."""
DEFAULT_CURRENCY = "USD"
CURRENCY_MAX = 12
"""Maximum length of the currency's name, in characters."""
AMOUNT_RULE = f"a number from 0 to {PRICE_MAX:,} with at most 6 decimals"


class Price(Value):
    """What a million tokens of a model cost, in micro-units of the currency."""

    input: int
    """Tokens of the input that were neither read from a cache nor written to one."""
    output: int
    """Tokens of the output, those of reasoning included."""
    cached_input: int
    """Tokens of the input that were read from a cache."""
    cache_write: int
    """Tokens of the input that were written to a cache."""


class Prices(Value):
    """The prices of models by their full name, `<provider>:<model>`, in one currency."""

    currency: str = DEFAULT_CURRENCY
    models: dict[str, Price] = {}

    @staticmethod
    def make(given: Mapping[str, Any]) -> Prices:
        """From `{"currency": "EUR", "openai:gpt-4o-mini": {"input": 0.15, "output": "0.60", …}}`. Amounts are numbers
        or their text, per million tokens. Raises `Invalid`, with the key."""
        tables = dict(given)
        currency = tables.pop("currency", DEFAULT_CURRENCY)
        if not isinstance(currency, str) or not currency.isalnum() or len(currency) > CURRENCY_MAX:
            raise Invalid("prices.currency", f"at most {CURRENCY_MAX} letters or digits, as in USD")
        if len(tables) > PRICES_MAX:
            raise Invalid("prices", f"at most {PRICES_MAX:,} models")
        return Prices(currency=currency, models={name: _price(name, table) for name, table in tables.items()})

    def priced(self, model: str, usage: Usage) -> Usage:
        """The usage of one call of `model` with its cost. It is unchanged if the model has no price, if the usage
        says neither how many tokens came in nor how many went out, or if it has a cost already."""
        price = self.models.get(model)
        is_reported = usage.input_tokens is not None or usage.output_tokens is not None
        if usage.cost_micros is not None:
            return replace(usage, priced_tokens=usage.tokens)
        if price is None or not is_reported:
            return replace(usage, priced_tokens=None) if usage.priced_tokens is not None else usage
        return replace(usage, cost_micros=cost_micros(price, usage), priced_tokens=usage.tokens)


def cost_micros(price: Price, usage: Usage) -> int:
    """What the usage costs, in micro-units, rounded to the nearest one (a half: up)."""
    read, written = usage.cache_read_tokens or 0, usage.cache_creation_tokens or 0
    plain = max((usage.input_tokens or 0) - read - written, 0)
    exact = (
        plain * price.input
        + read * price.cached_input
        + written * price.cache_write
        + (usage.output_tokens or 0) * price.output
    )
    return min((exact + MICROS // 2) // MICROS, COST_MICROS_MAX)


def micros_of(where: str, amount: Any) -> int:
    """An amount of money in micro-units, exactly as it is written. Raises `Invalid` with `where`."""
    if isinstance(amount, bool) or not isinstance(amount, int | float | str | Decimal):
        raise Invalid(where, AMOUNT_RULE)
    try:
        number = Decimal(str(amount))
    except InvalidOperation:
        raise Invalid(where, AMOUNT_RULE) from None
    if not number.is_finite() or not 0 <= number <= PRICE_MAX or number * MICROS != int(number * MICROS):
        raise Invalid(where, AMOUNT_RULE)
    return int(number * MICROS)


def amount_text(micros: int) -> str:
    """Micro-units as an amount of the currency: `0.0015`, `12.30`. At least two decimals, and no more than needed."""
    whole, rest = divmod(micros, MICROS)
    digits = f"{rest:06}".rstrip("0")
    return f"{whole:,}.{digits:0<2}"


def _price(name: str, table: Any) -> Price:
    where = f"prices.{name[:80]}"
    if not isinstance(table, Mapping):
        raise Invalid(where, f'is a table: [prices."{name[:80]}"] with input and output')
    unknown = [key for key in table if key not in Price.__struct_fields__]
    if unknown:
        names = ", ".join(Price.__struct_fields__)
        raise Invalid(f"{where}.{unknown[0]}", f"unknown key; a price has {names}")
    missing = [key for key in ("input", "output") if key not in table]
    if missing:
        raise Invalid(f"{where}.{missing[0]}", "is missing: a price has at least input and output")
    amounts = {key: micros_of(f"{where}.{key}", amount) for key, amount in table.items()}
    plain = amounts["input"]
    return Price(
        input=plain,
        output=amounts["output"],
        cached_input=amounts.get("cached_input", plain),
        cache_write=amounts.get("cache_write", plain),
    )
