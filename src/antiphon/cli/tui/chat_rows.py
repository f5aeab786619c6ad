"""The rows of the list: servers, sections and chats. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from antiphon.cli.clean import clean_line
from antiphon.client.shapes import Chat

UNTITLED = "Untitled chat"
WEEK = timedelta(days=7)
MARKS = {"running": "●", "interrupting": "●", "requires_action": "?", "error": "!"}
"""The mark of a chat's status; an unread one has `•`."""


class RowKind(StrEnum):
    """What a row is."""

    SERVER = "server"
    SECTION = "section"
    CHAT = "chat"
    MORE = "more"
    EMPTY = "empty"


class Row(NamedTuple):
    """A row. `key` is unique in the list: that of a chat is its server's and its id, separated by a space."""

    kind: RowKind
    key: str
    text: str
    mark: str = " "
    server_key: str = ""
    chat_id: str = ""


class Listed(NamedTuple):
    """A server in the list. `found` are the chats of a search (None: there is none)."""

    key: str
    name: str
    problem: str
    chats: Sequence[Chat]
    archived: Sequence[Chat] | None = None
    found: Sequence[Chat] | None = None
    has_more: bool = False
    is_open: bool = True
    counts: str = ""


def rows_of(servers: Iterable[Listed], now: datetime) -> list[Row]:
    """The rows of all servers; the chats of those that are open, or found."""
    rows: list[Row] = []
    for server in servers:
        is_open = server.is_open or bool(server.found)
        state = server.problem or ("" if is_open else server.counts)
        text = f"{server.name} · {clean_line(state)}" if state else server.name
        rows.append(Row(RowKind.SERVER, server.key, text, "▾" if is_open else "▸", server.key))
        if is_open:
            rows += _chat_rows(server, now)
    return rows


def counts_text(*, chats: int, running: int, waiting: int, unread: int) -> str:
    """What a folded server shows: `3 chats, 1 running`."""
    parts = [f"{chats} chats" if chats != 1 else "1 chat"]
    parts += [
        f"{count} {word}" for count, word in ((running, "running"), (waiting, "waiting"), (unread, "new")) if count
    ]
    return ", ".join(parts)


def _chat_rows(server: Listed, now: datetime) -> list[Row]:
    if server.found is not None:
        found = [_row(server.key, chat) for chat in server.found]
        return found or [Row(RowKind.EMPTY, f"{server.key} none", "No chat has this title.")]
    sections: dict[str, list[Chat]] = {}
    for chat in sorted(server.chats, key=lambda chat: chat["updated_at"], reverse=True):
        sections.setdefault(section_of(chat, now), []).append(chat)
    if "Pinned" in sections:
        pinned = sorted(sections.pop("Pinned"), key=lambda chat: chat["pin_order"])
        sections = {"Pinned": pinned, **sections}
    rows: list[Row] = []
    for name, chats in sections.items():
        rows.append(Row(RowKind.SECTION, f"{server.key} section {name}", name))
        rows += [_row(server.key, chat) for chat in chats]
    if server.has_more:
        rows.append(Row(RowKind.MORE, f"{server.key} more", "Show earlier chats", server_key=server.key))
    if server.archived is not None:
        rows.append(Row(RowKind.SECTION, f"{server.key} section Archived", "Archived"))
        rows += [_row(server.key, chat) for chat in server.archived]
    if not rows and not server.problem:
        rows.append(Row(RowKind.EMPTY, f"{server.key} none", "No chats yet. Type a message."))
    return rows


def section_of(chat: Chat, now: datetime) -> str:
    """The section of a chat: `Pinned`, or by its latest change."""
    if chat["pin_order"]:
        return "Pinned"
    try:
        then = datetime.fromisoformat(chat["updated_at"]).astimezone(now.tzinfo)
    except ValueError:
        return "Earlier"
    if then.date() >= now.date():
        return "Today"
    if then.date() == (now - timedelta(days=1)).date():
        return "Yesterday"
    return "Last 7 days" if now - then < WEEK else "Earlier"


def _row(server_key: str, chat: Chat) -> Row:
    mark = MARKS.get(chat["status"]) or ("•" if chat["has_unread"] else " ")
    title = clean_line(chat["title"]) or UNTITLED
    return Row(RowKind.CHAT, f"{server_key} {chat['id']}", title, mark, server_key, chat["id"])
