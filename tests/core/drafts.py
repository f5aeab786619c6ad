"""Drafts for tests: pieces as a model yields them, and deltas cut and merged as a network may."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.core.draft import Draft
from antiphon.core.events import Delta
from antiphon.core.parts import (
    CallStarted,
    DeltaPart,
    Reasoning,
    Text,
    ToolCallArgs,
    ToolCallOpened,
    ToolProgress,
)

LETTERS = ["a", "b", " ", "\n", "\r", "é", "e\u0301", "😀", "👩\u200d👩\u200d👧", "🇩🇪", "\u2028", "\x00", "語", "ﷺ"]
SURROGATES = ["\ud83d", "\ude00", "\udfff"]

texts = st.lists(st.sampled_from(LETTERS), max_size=6).map("".join)
broken_texts = st.lists(st.sampled_from(LETTERS + SURROGATES), max_size=6).map("".join)


def pieces_of(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[DeltaPart]]:
    """Pieces as a model yields them: text, reasoning, calls with arguments, and notes that belong to no part."""
    notes = st.one_of(st.builds(CallStarted, model=st.just("m")), st.builds(ToolProgress, st.just("t"), text))
    args = st.lists(st.one_of(st.builds(ToolCallArgs, text), notes), max_size=3)
    calls = st.builds(lambda n, rest: [ToolCallOpened(f"t{n}", "run"), *rest], st.integers(0, 99), args)
    words = st.one_of(st.builds(Text, text), st.builds(Reasoning, text), notes).map(lambda piece: [piece])
    return st.lists(st.one_of(words, words, calls), max_size=12).map(lambda groups: [p for g in groups for p in g])


def write(pieces: list[DeltaPart], name: int = 7) -> tuple[Draft, list[Delta]]:
    draft = Draft(name)
    written = [draft.write(piece) for piece in pieces]
    return draft, [delta for delta in written if delta is not None]


def text_in(part: DeltaPart) -> str | None:
    """The text that counts, None where the delta counts 1."""
    if isinstance(part, Text | Reasoning):
        return part.text
    return part.args_delta if isinstance(part, ToolCallArgs) else None


def window(delta: Delta, start: int, end: int) -> Delta:
    """The piece of a delta between two positions inside it."""
    text = text_in(delta.part)
    if text is None:
        return delta
    kind: type[Any] = type(delta.part)
    piece = kind(text[start - delta.from_ : end - delta.from_])
    return replace(delta, from_=start, to=end, part=piece)


def windows(draft: Draft, start: int, end: int) -> list[Delta]:
    """The deltas that take a reader from `start` to `end`, merged as far as they can be."""
    found = []
    for delta in draft.read(start):
        if delta.from_ < end:
            found.append(delta if delta.to <= end else window(delta, delta.from_, end))
    return found


def copy_of(draft: Draft, position: int) -> Draft:
    """A reader that holds the draft up to `position`."""
    copy = Draft(draft.name)
    for delta in windows(draft, 0, position):
        assert copy.apply(delta)
    assert copy.position == position
    return copy
