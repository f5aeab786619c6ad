"""The keys of the full-screen terminal."""

from __future__ import annotations

from antiphon.cli.transcript import Kind, Piece

KEYS = (
    ("Enter", "send; Ctrl+J (in many terminals also Alt+Enter) begins a new line"),
    ("Esc", "stop the answer; twice: also remove the messages that wait; in the list: back"),
    ("Shift+Tab", "while an answer is being written: wait, add to this answer, or interrupt"),
    ("↑ ↓", "earlier texts, also of other days"),
    ("PgUp PgDn", "scroll the chat; Ctrl+End shows its end"),
    ("Ctrl+N", "a new chat"),
    ("Ctrl+L", "the list of servers and chats"),
    ("Ctrl+F", "search all chats by title"),
    ("Ctrl+O", "unfold the last tool call; a click unfolds any"),
    ("Ctrl+T", "unfold the last thoughts"),
    ("Ctrl+G", "servers and instances"),
    ("Ctrl+P", "all commands"),
    ("Tab", "the next part of the window"),
    ("e d n", "on a waiting message: edit it, delete it, send it next; Shift+↑ and Shift+↓ move it"),
    ("Ctrl+Q", "leave; chats and answers go on"),
)
"""Each key with what it does."""


def help_pieces() -> list[Piece]:
    """What F1 shows."""
    rows = "\n".join(f"| {key} | {text} |" for key, text in KEYS)
    more = "Commands with `/` work as in `antiphon chat`, such as `/model`, `/retry` and `/export`; `@` sends a file."
    return [Piece(Kind.ANSWER, f"| key | what it does |\n|---|---|\n{rows}\n\n{more}")]
