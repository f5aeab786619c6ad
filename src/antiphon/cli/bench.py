"""`antiphon bench`: run the benchmarks, with baselines measured in the same run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon import version
from antiphon.cli.verb import Verb, json_option, print_json
from antiphon.errors import Unavailable

if TYPE_CHECKING:
    from benchmarks import Figure

MISSING = "the benchmarks are part of the source checkout, not of the package: run `./dev bench` in a checkout"


@click.command("bench", cls=Verb)
@click.argument("scenes", nargs=-1)
@click.option("--quick", is_flag=True, help="Smaller and shorter: a smoke test, not a measurement.")
@click.option(
    "--store",
    metavar="URL",
    default="",
    help="A PostgreSQL database for the scenes of replicas.  [default: a new one]",
)
@json_option
def command(scenes: tuple[str, ...], quick: bool, store: str, as_json: bool) -> None:
    """Run the benchmarks SCENES, or all of them. With --json: {figures}.

    The scenes of replicas (shared-sends, notifications, relay, relayed-fanout, storm, shared-takeover, growth) start
    a PostgreSQL server that syncs every commit, in a temporary folder. With --store they use that database and leave
    their chats in it, so it should be empty.
    """
    add_checkout_to_path()
    from benchmarks import SCENES, format_table, run_scenes

    unknown = [name for name in scenes if name not in SCENES]
    if unknown:
        raise click.UsageError(f"there is no scene {unknown[0]!r}; there are {', '.join(SCENES)}")
    figures = run_scenes(scenes, is_quick=quick, store=store, on_figure=None if as_json else _report)
    if as_json:
        print_json({"figures": figures})
    else:
        click.echo(format_table(figures))


def add_checkout_to_path() -> None:
    """Make `benchmarks`, and the servers of `tests/support` that it starts, importable.

    Only the checkout that this package runs from counts: another `benchmarks` on the path is not ours.
    Raises `Unavailable` where the package runs from a wheel.
    """
    checkout = Path(version.__file__).parents[2]
    if not (checkout / "benchmarks" / "runner.py").is_file():
        raise Unavailable(MISSING)
    sys.path[:0] = [str(checkout), str(checkout / "tests")]


def _report(figure: Figure) -> None:
    """Print each figure when it is measured; the whole run takes minutes."""
    click.echo(f"{figure.name}: {figure.value:.3g} {figure.unit}", err=True)
