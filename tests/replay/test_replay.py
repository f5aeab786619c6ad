"""A history that was ever stored folds to the state it had, for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.core.evolve import evolve
from antiphon.core.facts import KINDS, Recorded
from antiphon.core.model import Chat
from antiphon.wire.log import decode_chat, decode_fact, encode_chat, encode_fact

from .generate import Exists, fields_of, write_all

GOLDEN = sorted(Path(__file__).parent.glob("v*/*.jsonl"))
NOT_STORED = {"content"}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize("path", GOLDEN, ids=name_of)
def test_a_stored_history_folds_to_its_stored_state(path: Path) -> None:
    """Each fact with the status and the draft it had; at the end each field that the state had then."""
    chat: Chat | None = None
    for line in lines_of(path):
        fact = decode_fact(msgspec.json.encode(line["body"]))
        chat = evolve(chat, Recorded(line["seq"], line["at"], fact))
        assert (chat.status, chat.draft) == (line["status"], line["draft"]), f"fact {line['seq']}"
    assert chat is not None
    end = msgspec.json.decode(path.with_suffix(".end.json").read_bytes())
    now = fields_of(chat)
    assert {name: now[name] for name in end} == end


@pytest.mark.parametrize("path", GOLDEN, ids=name_of)
def test_a_stored_fact_is_encoded_unchanged(path: Path) -> None:
    for line in lines_of(path):
        body = msgspec.json.encode(line["body"])
        assert msgspec.json.decode(encode_fact(decode_fact(body))) == line["body"]


@pytest.mark.parametrize("path", GOLDEN, ids=name_of)
def test_a_stored_state_is_decoded_unchanged(path: Path) -> None:
    end = path.with_suffix(".end.json").read_bytes()
    chat = decode_chat(end)
    assert decode_chat(encode_chat(chat)) == chat
    now, then = fields_of(chat), msgspec.json.decode(end)
    assert {name: now[name] for name in then} == then


def test_every_kind_of_fact_is_kept_with_every_field() -> None:
    """A new kind or field needs a golden history of its own, in a new folder."""
    kept: dict[str, set[str]] = {}
    for path in GOLDEN:
        for line in lines_of(path):
            kept.setdefault(line["body"]["type"], set()).update(line["body"])
    for name, kind in KINDS.items():
        fields = {field for field in kind.__struct_encode_fields__ if field not in NOT_STORED}
        assert fields <= kept.get(name, set()), f"{name} lacks {fields - kept.get(name, set())}"


def test_a_golden_history_is_never_overwritten(tmp_path: Path) -> None:
    written = write_all(tmp_path / "v9")
    before = {path: path.read_bytes() for path in written}
    with pytest.raises(Exists):
        write_all(tmp_path / "v9")
    written[0].unlink()
    with pytest.raises(Exists):
        write_all(tmp_path / "v9")
    assert not written[0].exists()
    assert {path: path.read_bytes() for path in written[1:]} == {path: before[path] for path in written[1:]}
