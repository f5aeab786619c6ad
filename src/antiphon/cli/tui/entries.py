"""The messages of a chat as entries of a transcript, each of which is shown in one piece. Pure.

The text of an answer is cut at the ends of its blocks, so that what is drawn costs as much as what can be seen, and a
growing answer changes only its last entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from antiphon.cli.clean import clean_line, clean_text
from antiphon.cli.content_text import content_text, outcome_text, part_text
from antiphon.cli.conversation.status_line import MODEL_NAMES, tokens_text, used_tokens
from antiphon.cli.markdown_blocks import iter_block_ends
from antiphon.cli.tool_run import ToolRun, call_words, seconds_between, tool_run, value_text
from antiphon.core.parts import Part, Reasoning, Text, ToolCall

ENTRY_CHARACTERS = 1_500
"""Blocks of an answer are joined to entries of at least this length, in characters."""
ENTRY_CHARACTERS_MAX = 20_000
"""A longer block is cut and shown as plain text, because Markdown of this length takes too long to draw."""


class EntryKind(StrEnum):
    """How an entry is shown."""

    USER = "user"
    ANSWER = "answer"
    PLAIN = "plain"
    THOUGHT = "thought"
    TOOL = "tool"
    NOTE = "note"
    ERROR = "error"
    DIFF = "diff"


class Entry(NamedTuple):
    """`key` stays the same while the entry changes. `text` is its text, that of an unfolded one for thoughts; `head`
    the line of a folded one. `run` is a finished tool call. `is_joined`: no empty line is above it."""

    key: str
    kind: EntryKind
    text: str
    head: str = ""
    run: ToolRun | None = None
    is_joined: bool = False

    @property
    def is_foldable(self) -> bool:
        return self.kind in (EntryKind.THOUGHT, EntryKind.TOOL)


class Call(NamedTuple):
    """A tool call whose result is not known yet."""

    part: dict[str, Any]
    begun_at: str
    place: int


def message_entries(
    messages: Iterable[dict[str, Any]],
    *,
    waiting: Iterable[str] = (),
    is_running: bool = False,
    thoughts: Mapping[int, str] | None = None,
) -> list[Entry]:
    """The entries of messages in their order. `waiting`: the ids of the calls that wait for a person; `is_running`:
    other calls without a result are running; `thoughts`: the lines of thoughts by message id."""
    entries: list[Entry] = []
    calls: dict[str, Call] = {}
    waits = set(waiting)
    for message in messages:
        content, at = message.get("content", []), message.get("created_at", "")
        if message["role"] == "user":
            entries.append(Entry(f"{message['id']}", EntryKind.USER, content_text(content)))
        elif message["role"] == "assistant":
            _settle(entries, calls, "no result")
            entries += _answer_entries(message, content, (thoughts or {}).get(message["id"], "Thought"))
            for part in content:
                if part.get("type") == "tool-call":
                    calls[part["tool_call_id"]] = Call(part, at, len(entries))
                    entries.append(_open_call(message["id"], part))
            entries += _ending(message, has_calls=bool(calls))
        else:
            for part in content:
                if part.get("type") == "tool-result":
                    _finish(entries, calls.pop(part["tool_call_id"], None), message["id"], part, at)
    for call_id, call in calls.items():
        state = "waits for you" if call_id in waits else "running" if is_running else "no result"
        _mark(entries, call, state)
    return entries


def text_entries(key: str, text: str) -> Iterator[Entry]:
    """A Markdown text as entries; the last one may be unfinished."""
    begin = 0
    for end in iter_block_ends(text):
        if end - begin >= ENTRY_CHARACTERS:
            yield from _cut(f"{key}:{begin}", text[begin:end], is_first=begin == 0)
            begin = end
    if text[begin:].strip():
        yield from _cut(f"{key}:{begin}", text[begin:], is_first=begin == 0)


def draft_entries(name: int, parts: Sequence[Part], *, thinking: str = "") -> list[Entry]:
    """The entries of an unfinished answer. `thinking`: the line of its last thoughts, such as `Thinking 3 s`."""
    entries: list[Entry] = []
    last_thought = max((number for number, part in enumerate(parts) if isinstance(part, Reasoning)), default=-1)
    for number, part in enumerate(parts):
        key = f"draft {name}.{number}"
        if isinstance(part, Text):
            entries += text_entries(key, clean_text(part.text))
        elif isinstance(part, Reasoning):
            head = thinking if number == last_thought and thinking else "Thought"
            entries.append(Entry(key, EntryKind.THOUGHT, clean_text(part.text).strip(), head))
        elif isinstance(part, ToolCall):
            joined = bool(entries) and entries[-1].kind is EntryKind.TOOL
            head = f"{clean_line(part.tool_name)}(…)  being written"
            entries.append(Entry(key, EntryKind.TOOL, "", head, is_joined=joined))
    return entries


def _cut(key: str, text: str, *, is_first: bool) -> Iterator[Entry]:
    """One entry, or several plain ones for a text that is too long for Markdown."""
    text = text.strip("\n")
    if len(text) <= ENTRY_CHARACTERS_MAX:
        yield Entry(key, EntryKind.ANSWER, text)
        return
    begin = 0
    while begin < len(text):
        end = text.rfind("\n", begin, begin + ENTRY_CHARACTERS_MAX) + 1
        end = end if end > begin else begin + ENTRY_CHARACTERS_MAX
        yield Entry(f"{key}+{begin}", EntryKind.PLAIN, text[begin:end].rstrip("\n"), is_joined=begin > 0)
        begin = end


def _answer_entries(message: dict[str, Any], content: list[dict[str, Any]], thought: str) -> Iterator[Entry]:
    """The parts of an answer without its calls, in their order."""
    for number, part in enumerate(content):
        key, kind = f"{message['id']}.{number}", part.get("type")
        if kind == "text":
            yield from text_entries(key, clean_text(part["text"]))
        elif kind == "reasoning" and part.get("text", "").strip():
            yield Entry(key, EntryKind.THOUGHT, clean_text(part["text"]).strip(), thought)
        elif kind == "data":
            yield Entry(key, EntryKind.ANSWER, f"```json\n{part_text(part)}\n```")
        elif kind not in ("tool-call", "reasoning"):
            yield Entry(key, EntryKind.NOTE, part_text(part))


def _ending(message: dict[str, Any], *, has_calls: bool) -> list[Entry]:
    """The lines below an answer: why it ended early, then its model, its time and its tokens."""
    entries = []
    words = outcome_text(message) or ("stopped" if message.get("interrupted") else "")
    if words:
        entries.append(Entry(f"{message['id']} outcome", EntryKind.NOTE, f"({words})"))
    if has_calls:
        return entries
    model = clean_line(message.get("model", "")).rpartition(":")[2]
    tokens = used_tokens(message.get("usage"))
    shown = [
        MODEL_NAMES.get(model, model),
        f"{message.get('created_at', '')[11:16]} UTC" if message.get("created_at", "").endswith("Z") else "",
        f"{tokens_text(tokens)} tokens" if tokens else "",
    ]
    facts = " · ".join(filter(None, shown))
    return (
        [*entries, Entry(f"{message['id']} end", EntryKind.NOTE, facts, is_joined=bool(words))] if facts else entries
    )


def _open_call(message_id: int, part: dict[str, Any]) -> Entry:
    key = f"{message_id} {part['tool_call_id']}"
    return Entry(key, EntryKind.TOOL, _arguments(part), call_words(part))


def _finish(entries: list[Entry], call: Call | None, message_id: int, part: dict[str, Any], at: str) -> None:
    """Put the result into the entry of its call; of an unknown call it gets an entry of its own."""
    if call is None:
        key = f"{message_id} {part['tool_call_id']}"
        entries.append(Entry(key, EntryKind.TOOL, "", run=tool_run({}, part, None)))
        return
    run = tool_run(call.part, part, seconds_between(call.begun_at, at))
    entry = entries[call.place]
    entries[call.place] = entry._replace(run=run, is_joined=_follows_tool(entries, call.place))


def _mark(entries: list[Entry], call: Call, state: str) -> None:
    entry = entries[call.place]
    head = f"{entry.head}  {state}"
    entries[call.place] = entry._replace(head=head, is_joined=_follows_tool(entries, call.place))


def _settle(entries: list[Entry], calls: dict[str, Call], state: str) -> None:
    """The next answer has begun: calls without a result get none any more."""
    for call in calls.values():
        _mark(entries, call, state)
    calls.clear()


def _follows_tool(entries: list[Entry], index: int) -> bool:
    return index > 0 and entries[index - 1].kind is EntryKind.TOOL


def _arguments(part: dict[str, Any]) -> str:
    """The arguments as JSON; nothing if there are none."""
    args = part.get("args")
    if not args:
        return ""
    return value_text(args if isinstance(args, str) else json.dumps(args, ensure_ascii=False, indent=2))
