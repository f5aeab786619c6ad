"""`antiphon usage`: the tokens and costs of an owner by day and model."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.clean import clean_line
from antiphon.cli.instance import open_client
from antiphon.cli.verb import Verb, instance_options, print_json
from antiphon.prices import amount_text

if TYPE_CHECKING:
    from antiphon.client.shapes import Usage, UsageTotal

DAYS_MAX = 400
UNKNOWN = "?"
"""Shown for a cost that is not known."""


@click.command("usage", cls=Verb)
@click.option(
    "--days", default=30, show_default=True, type=click.IntRange(1, DAYS_MAX), help="The last days, in UTC."
)
@click.option("--owner", default="", metavar="NAME", help="Another owner; this needs an admin's token.")
@instance_options
def command(days: int, owner: str, data: Path | None, url: str | None, as_json: bool) -> None:
    """Show what was used: tokens and costs by day and model. A cost with `?` lacks models without a price."""
    with open_client(data, url) as client:
        usage = client.usage(owner=owner)
        if days != _days(usage):
            first = date.fromisoformat(usage["last_day"]) - timedelta(days=days - 1)
            usage = client.usage(first_day=first.isoformat(), last_day=usage["last_day"], owner=owner)
    if as_json:
        print_json(usage)
        return
    currency = clean_line(usage["currency"] or "")
    lines = [(row["day"], clean_line(row["model"]), row) for row in usage["rows"]]
    for day, model, row in lines:
        click.echo(f"{day}  {_counts(row)}  {_cost(row, currency):>14}  {model}")
    if not lines:
        click.echo(f"Nothing was used from {usage['first_day']} to {usage['last_day']}.")
        return
    click.echo(f"{'all':<10}  {_counts(usage['total'])}  {_cost(usage['total'], currency):>14}")
    for budget in usage["budgets"]:
        is_cost = budget["name"].startswith("cost")
        used, limit = ((amount_text if is_cost else _number)(budget[key]) for key in ("used", "limit"))
        click.echo(f"{budget['name']}: {used} of {limit} used; resets at {budget['resets_at']}", err=True)


def _days(usage: Usage) -> int:
    return (date.fromisoformat(usage["last_day"]) - date.fromisoformat(usage["first_day"])).days + 1


def _counts(row: UsageTotal) -> str:
    turns, read, written = (_number(row[key]) for key in ("turns", "input_tokens", "output_tokens"))
    word = "turn " if row["turns"] == 1 else "turns"
    return f"{turns:>7} {word}  {read:>13} in  {written:>13} out"


def _cost(row: UsageTotal, currency: str) -> str:
    """The cost with its currency; `?` where it is unknown or not the whole cost."""
    if row["cost_micros"] is None:
        return UNKNOWN
    return f"{amount_text(row['cost_micros'])} {currency}{UNKNOWN if row['unpriced_tokens'] else ''}"


def _number(count: int) -> str:
    return f"{count:,}"
