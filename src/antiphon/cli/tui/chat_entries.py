"""The entries of an open chat: its messages, the unfinished answer, and what commands have printed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from antiphon.cli.clean import clean_line
from antiphon.cli.tool_run import seconds_text
from antiphon.cli.transcript import Transcript
from antiphon.cli.tui.entries import Entry, EntryKind, draft_entries, message_entries
from antiphon.cli.tui.message_window import MessageWindow

FULL = "(earlier messages are not shown; `/export` writes the whole chat)"
EMPTY = "Type a message below. F1 shows the keys, Ctrl+P all commands."


class ChatEntries:
    """`read` returns the entries; those of the messages are made again only when a message has changed."""

    def __init__(self) -> None:
        self._made_for: tuple[object, ...] = ()
        self._made: list[Entry] = []

    def read(self, transcript: Transcript, window: MessageWindow, notes: Iterable[tuple[str, Entry]]) -> list[Entry]:
        view = transcript.view
        waiting = [call["tool_call_id"] for call in view.open_calls]
        state = (id(window), window.changes, view.seq, len(view.messages), view.status, tuple(waiting))
        if state != self._made_for:
            is_running = view.status == "running"
            messages = window.messages(view)
            self._made = message_entries(messages, waiting=waiting, is_running=is_running, thoughts=window.thoughts)
            self._made_for = state
        entries = _with_notes(self._made, notes)
        if window.is_full:
            entries = [Entry("full", EntryKind.NOTE, FULL), *entries]
        thoughts = transcript.thoughts
        thinking = f"Thinking {seconds_text(thoughts.seconds)}" if thoughts.is_thinking else ""
        thinking = thinking or window.thought
        entries = [*entries, *draft_entries(view.draft.name, view.draft.content(), thinking=thinking)]
        entries += _failure(transcript)
        return entries or [Entry("empty", EntryKind.NOTE, EMPTY)]


def _failure(transcript: Transcript) -> list[Entry]:
    """Why the last answer failed, or is tried again."""
    view = transcript.view
    if view.retry is not None:
        words = f"({clean_line(view.retry['error'])}; retrying in {view.retry['delay_ms'] / 1000:.1f} s)"
        return [Entry(f"retry {view.seq}", EntryKind.NOTE, words)]
    if view.last_error is not None and not transcript.is_busy:
        reason = clean_line(str(view.last_error.get("message", ""))).rstrip(".")
        return [Entry(f"error {view.seq}", EntryKind.ERROR, f"The answer failed: {reason}. /retry tries it again.")]
    return []


def _with_notes(entries: list[Entry], notes: Iterable[tuple[str, Entry]]) -> list[Entry]:
    """The entries with each note below the message after which it was printed."""
    notes = list(notes)
    if not notes:
        return entries
    ids = [message_id_of(entry) for entry in entries]
    shown, place = [], 0
    for after, note in notes:
        end = max(bisect_right(ids, int(after or 0)), place)
        shown += entries[place:end]
        shown.append(note)
        place = end
    return shown + entries[place:]


def message_id_of(entry: Entry) -> int:
    """The message that an entry belongs to; its key begins with the id."""
    digits = entry.key.partition(" ")[0].partition(".")[0].partition(":")[0]
    return int(digits)
