"""The command line: `antiphon VERB`. Each verb has its own module, which is imported only when the verb is used, so
that `antiphon --help` is fast."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

import click

from antiphon.version import __version__

VERBS = {
    "serve": "Start an instance: the server, the web UI and the workers.",
    "chat": "Chat with a model in the terminal.",
    "tui": "Chats of several servers in one window of the terminal.",
    "ls": "List chats, latest change first.",
    "show": "Show a chat's messages.",
    "export": "Write a chat to a file, as JSON or Markdown.",
    "send": "Send a message to a chat.",
    "tail": "Follow the events of a chat.",
    "approve": "Approve or deny a tool call.",
    "answer": "Answer an agent's question, or give a tool's result.",
    "interrupt": "Interrupt the running turn of a chat.",
    "queue": "Show and change a chat's queue.",
    "acp": "Serve editors over stdin and stdout (the Agent Client Protocol).",
    "events": "Show the events that an instance publishes.",
    "attach": "Join a chat of an instance on this machine.",
    "ps": "List the instances of this machine.",
    "ping": "Check that an instance responds.",
    "mcp": "Speak MCP over stdin and stdout: chats as tools.",
    "usage": "Show tokens and costs by day and model.",
    "token": "Create, list and revoke bearer tokens.",
    "config": "Configure providers, models and your system prompt.",
    "keys": "Manage the keys for connections over TCP.",
    "migrate": "Migrate a store to this version's schema, or copy it.",
    "backup": "Back up a data directory, also of a running instance.",
    "restore": "Make a data directory from a backup.",
    "doctor": "Check the stored chats for damage.",
    "bench": "Measure the speed of this machine.",
}

EPILOG = """A command uses the instance of --data, or the one at --url with the token in ANTIPHON_TOKEN. Without
either it uses the instance of the current directory (.antiphon), else the only running instance of this machine,
whose address it prints on stderr. CHAT is an id, the beginning of an id, or `last`. All verbs accept --json. The exit
code is 0, 1 (refused or failed), 2 (usage) or 3 (no instance)."""


class Verbs(click.Group):
    """The verbs by name. Listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        _import_structlog()
        command: click.Command = import_module(f"antiphon.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def antiphon() -> None:
    """Antiphon: a session server for AI chats and agents."""


def _import_structlog() -> None:
    """Import structlog without rich, which it imports to print tracebacks in colour. The log has none, and the import
    takes a fifth of the start of a server. (Verbs that print with rich import it afterwards.)"""
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment] # makes the import of rich fail
        try:
            import_module("structlog")
        finally:
            del sys.modules["rich"]


def _have_streams() -> None:
    """Replace closed standard streams by the null device, and print characters that the encoding lacks as `?`."""
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
