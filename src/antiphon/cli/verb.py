"""Shared by all verbs: their options, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from antiphon.cli.clean import clean_text
from antiphon.errors import AntiphonError, InstanceMissing, Unavailable

DATA = ".antiphon"
"""The default data directory, below the current directory."""
EXIT_FAILED = 1
EXIT_NO_INSTANCE = 3

F = TypeVar("F", bound=Callable[..., Any])


class Failed(click.ClickException):
    """A refusal or a failure: a sentence on stderr, or JSON on stdout with --json."""

    exit_code = EXIT_FAILED

    def __init__(self, error: AntiphonError, *, as_json: bool) -> None:
        super().__init__(str(error))
        self._as_json = as_json
        self._detail = {"code": error.code, "message": str(error), **error.fields()}

    def show(self, file: IO[Any] | None = None) -> None:
        if self._as_json:
            click.echo(json.dumps({"error": self._detail}, default=str))
        else:
            click.echo(f"antiphon: {clean_text(self.message)}", file=file, err=True)


class NoInstance(Failed):
    """No instance responds."""

    exit_code = EXIT_NO_INSTANCE


class Verb(click.Command):
    """A command whose `AntiphonError`s are printed as sentences."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AntiphonError as error:
            kind = NoInstance if isinstance(error, InstanceMissing) else Failed
            raise kind(error, as_json=bool(ctx.params.get("as_json"))) from error
        except BrokenPipeError:
            raise  # the reader closed the pipe; click handles it
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            failure = Unavailable(f"{place}{error.strerror or error}")
            raise Failed(failure, as_json=bool(ctx.params.get("as_json"))) from error


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON: one object, or one per line.")(function)


def data_option(function: F) -> F:
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--data", type=kind, help=f"The data directory.  [default: {DATA}]")(function)


def store_option(function: F) -> F:
    """--store, for verbs that open a store themselves."""
    return click.option("--store", metavar="STORE", help="sqlite:PATH or postgresql://…, instead of --data.")(
        function
    )


def instance_options(function: F) -> F:
    """--data, --url and --json, as `data`, `url` and `as_json`."""
    url = click.option("--url", help="The instance's address; the token is read from ANTIPHON_TOKEN.")
    return data_option(url(json_option(function)))


def text_of(text: str) -> str:
    """The text of an argument; `-`: read it from stdin."""
    if text != "-":
        return text
    return sys.stdin.buffer.read().decode(errors="replace").rstrip("\n")


def print_json(value: Any) -> None:
    """Print a value as JSON on one line."""
    from antiphon.wire.codec import encode

    click.echo(encode(value))
