"""`antiphon export`: write a chat with all of its messages to a file, as JSON or Markdown."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import click

from antiphon.cli.clean import clean_text
from antiphon.cli.instance import open_http_client
from antiphon.cli.verb import Verb, instance_options
from antiphon.cli.which_chat import resolve_chat


@click.command("export", cls=Verb)
@click.argument("chat")
@click.option("--md", "is_markdown", is_flag=True, help="Markdown, for people.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The file; default: standard output."
)
@instance_options
def command(
    chat: str, is_markdown: bool, output: Path | None, data: Path | None, url: str | None, as_json: bool
) -> None:
    """Write a chat with all of its messages: {chat, messages} in JSON (--json, the default), or Markdown (--md). If
    it fails, the file is unchanged."""
    if is_markdown and as_json:
        raise click.UsageError("give --md or --json, not both")
    kind: Literal["json", "markdown"] = "markdown" if is_markdown else "json"
    with open_http_client(data, url) as client:
        chat_id = resolve_chat(client, chat)["id"]
        if output is not None:
            try:
                size = client.export_to(chat_id, output, format=kind)
            except OSError as error:
                raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
            click.echo(f"wrote {output} ({size:,} bytes)", err=True)
            return
        with closing(client.export(chat_id, format=kind)) as pieces:
            for piece in _shown(pieces) if sys.stdout.isatty() else pieces:
                click.echo(piece, nl=False)


def _shown(pieces: Iterable[bytes]) -> Iterator[str]:
    """The text for a terminal: without the escapes that a model may have written."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        yield clean_text(decoder.decode(piece))
