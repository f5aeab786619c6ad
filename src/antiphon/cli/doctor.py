"""`antiphon doctor`: whether what is stored agrees with itself."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from antiphon.cli.clean import clean_line
from antiphon.cli.verb import DATA, EXIT_FAILED, Verb, data_option, json_option, print_json
from antiphon.errors import Invalid, Unavailable


@click.command("doctor", cls=Verb)
@data_option
@json_option
def command(data: Path | None, as_json: bool) -> None:
    """Fold every chat's log anew and compare with what is stored. No instance may be running on the directory.

    The exit code is 1 if anything is found. With --json: the report.
    """
    report = asyncio.run(_examine(data or Path(DATA)))
    findings = list(report.findings)
    if as_json:
        print_json(report)
    else:
        for finding in findings:
            click.echo(f"- {clean_line(str(finding))}")
        click.echo(_summary(len(findings)))
    if findings:
        raise SystemExit(EXIT_FAILED)


def _summary(count: int) -> str:
    if not count:
        return "All is well: every chat's log folds to what is stored."
    return (
        f"{count} {'thing is' if count == 1 else 'things are'} not as they should be; keep a copy of the directory."
    )


async def _examine(data: Path) -> Any:
    from antiphon.clock import SystemClock
    from antiphon.lockfile import claim_data
    from antiphon.store.sqlite import open_sqlite_store

    try:
        doctor = import_module("antiphon.chats.doctor")
    except ModuleNotFoundError as error:
        raise Unavailable("this version has no doctor") from error
    if not (data / "antiphon.db").exists():
        raise Invalid("--data", f"there is no database in {data}")
    with claim_data(data, instance_id="doctor"):
        store = await open_sqlite_store(data / "antiphon.db", clock=SystemClock())
        try:
            return await doctor.examine(store)
        finally:
            await store.aclose()
