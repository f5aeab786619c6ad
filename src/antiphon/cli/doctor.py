"""`antiphon doctor`: whether what is stored agrees with itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.clean import clean_line
from antiphon.cli.verb import DATA, EXIT_FAILED, Verb, data_option, json_option, print_json
from antiphon.errors import Invalid

if TYPE_CHECKING:
    from antiphon.chats.doctor import Report


@click.command("doctor", cls=Verb)
@data_option
@json_option
def command(data: Path | None, as_json: bool) -> None:
    """Fold every chat's log anew and compare with what is stored. No instance may be running on the directory.

    The exit code is 1 if anything is found. With --json: the report.
    """
    report = asyncio.run(_examine(data or Path(DATA)))
    if as_json:
        print_json({"is_sound": report.is_sound} | {name: getattr(report, name) for name in report.__struct_fields__})
    else:
        for finding in report.findings:
            click.echo(f"- {clean_line(str(finding))}")
        click.echo(_summary(report))
    if not report.is_sound:
        raise SystemExit(EXIT_FAILED)


def _summary(report: Report) -> str:
    examined = f"{report.chats} chats with {report.facts} facts"
    if report.is_sound:
        return f"All is well: {examined}, and what is stored is what their logs say."
    return f"Of {examined}, {len(report.findings)} things are not as they must be. Keep a copy of the directory."


async def _examine(data: Path) -> Report:
    from antiphon.chats.doctor import examine
    from antiphon.clock import SystemClock
    from antiphon.lockfile import claim_data
    from antiphon.store.sqlite import open_sqlite_store

    if not (data / "antiphon.db").exists():
        raise Invalid("--data", f"there is no database in {data}")
    with claim_data(data, instance_id="doctor"):
        store = await open_sqlite_store(data / "antiphon.db", clock=SystemClock())
        try:
            return await examine(store)
        finally:
            await store.aclose()
