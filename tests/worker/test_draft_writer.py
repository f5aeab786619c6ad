"""The draft writer: its limits, and that a closed one writes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon.chats.live_drafts import LiveDrafts
from antiphon.core.parts import PartMetadata, Text, ToolCallOpened, ToolProgress
from antiphon.errors import AttemptFailed
from antiphon.worker.draft_writer import METADATA_BYTES_MAX, NAME_MAX, DraftWriter

pytestmark = pytest.mark.anyio


def writer_of(drafts: LiveDrafts) -> DraftWriter:
    return DraftWriter(drafts, "c", 3, attempt=3, call_ids=lambda: {"a"})


@pytest.mark.parametrize("piece", ["more", Text("more"), ToolCallOpened("b", "t"), ToolProgress("a", "late")])
async def test_a_closed_draft_writer_writes_nothing(piece: Any) -> None:
    """The draft of a stopped turn remains what its watchers saw."""
    writer = writer_of(LiveDrafts())
    writer.write("so far")
    writer.close()
    writer.write(piece)
    assert (writer.draft.position, writer.draft.text()) == (6, "so far")


async def test_watchers_are_woken_once_for_all_writes_of_one_loop_iteration() -> None:
    drafts = LiveDrafts()
    woken: list[int] = []
    drafts.listen("c", lambda: woken.append(1))
    writer = writer_of(drafts)
    for _ in range(5):
        writer.write("x")
    await asyncio.sleep(0)
    assert len(woken) == 1


async def test_the_length_of_a_tool_call_name_is_limited() -> None:
    writer = writer_of(LiveDrafts())
    for opened in (ToolCallOpened("x" * (NAME_MAX + 1), "t"), ToolCallOpened("b", "x" * (NAME_MAX + 1))):
        with pytest.raises(AttemptFailed, match="longer"):
            writer.write(opened)
    writer.write(ToolCallOpened("b", "x" * NAME_MAX))
    assert writer.draft.position == 1


async def test_a_repeated_call_id_is_renamed() -> None:
    writer = writer_of(LiveDrafts())
    for _ in range(2):
        writer.write(ToolCallOpened("a", "t"))
    opened = [delta.part.tool_call_id for delta in writer.draft.read(0) if isinstance(delta.part, ToolCallOpened)]
    assert opened == ["a#2", "a#3"]


async def test_all_keys_of_the_metadata_of_a_part_count_and_a_repeated_key_is_replaced() -> None:
    writer = writer_of(LiveDrafts())
    writer.write("text")
    half = "x" * (METADATA_BYTES_MAX // 2)
    for _ in range(3):
        writer.write(PartMetadata({"one": half}))
    with pytest.raises(AttemptFailed, match="bytes of metadata"):
        writer.write(PartMetadata({"two": half}))
    (part,) = writer.draft.content()
    assert isinstance(part, Text)
    assert part.provider_metadata == {"one": half}
