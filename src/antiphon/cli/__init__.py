"""The command line: `antiphon VERB`. Each verb lives in a file of its own that is imported when it is asked for, so
that `antiphon --help` costs next to nothing."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

import click

from antiphon import __version__

VERBS = {
    "serve": "Start an instance: the server, its page and its workers.",
    "chat": "Talk with a model, here in the terminal.",
    "ls": "List chats, latest change first.",
    "show": "Show a chat's messages.",
    "send": "Send a message to a chat.",
    "tail": "Follow a chat as it happens.",
    "approve": "Let a tool call run that waits for approval, or deny it.",
    "interrupt": "Stop the turn a chat is in.",
    "queue": "See and change what waits in a chat's queue.",
    "events": "Show everything an instance publishes.",
    "attach": "Follow a chat of any instance here, and take part.",
    "ps": "List the instances of this machine.",
    "ping": "Ask an instance for a sign of life.",
    "token": "Make, list and revoke bearer tokens.",
    "config": "Say which models there are and what they are told.",
    "keys": "Make and keep the keys of who may connect over TCP.",
    "migrate": "Bring the database to this version's schema.",
    "doctor": "Look for damage in the stored chats.",
    "bench": "Measure this machine against its floors.",
}

EPILOG = """A command uses the instance of --data, or the one at --url with the token of ANTIPHON_TOKEN. Without
either it uses the instance of the current directory (.antiphon), else the only one that runs on this machine, and
names that on stderr. CHAT is an id, the beginning of one, or `last`. All verbs take --json. The exit code
is 0, 1 (refused or failed), 2 (usage) or 3 (no instance)."""


class Verbs(click.Group):
    """The verbs, by name; none is imported to be listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"antiphon.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def antiphon() -> None:
    """Antiphon: a session server for AI chats and agents."""


def _have_streams() -> None:
    """Streams that were closed lead nowhere, and what a terminal's encoding lacks is shown as `?`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for the life of the process
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main() -> None:
    """The console script."""
    _have_streams()
    antiphon(prog_name="antiphon")
