"""Write golden histories: `python -m replay.generate v2`, from the folder `tests`.

One file of facts and one of the state they fold to, per history. What is written stays: a stored history of every
released version must fold for ever. So an existing file is never overwritten; a new shape gets a new folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from antiphon.core.model import Chat
from antiphon.wire.log import encode_fact

from .histories import HISTORIES, Scenario


class Exists(Exception):
    """A golden history is already there."""


def write_all(folder: Path) -> list[Path]:
    """The files that were written. Raises `Exists` before writing anything if one of them is there."""
    made = {}
    for name, make in HISTORIES.items():
        scenario = make()
        made[folder / f"{name}.jsonl"] = facts_of(scenario)
        made[folder / f"{name}.end.json"] = end_of(scenario.chat)
    for path in made:
        if path.exists():
            raise Exists(f"{path} exists: golden histories are for ever, choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in made.items():
        path.write_bytes(content)
    return list(made)


def facts_of(scenario: Scenario) -> bytes:
    lines = []
    for entry in scenario.entries:
        line = {
            "seq": entry.seq,
            "at": entry.recorded.at,
            "status": entry.status,
            "draft": entry.draft,
            "body": msgspec.Raw(encode_fact(entry.fact)),
        }
        lines.append(msgspec.json.encode(line) + b"\n")
    return b"".join(lines)


def end_of(chat: Chat) -> bytes:
    return msgspec.json.format(msgspec.json.encode(fields_of(chat)), indent=1) + b"\n"


def fields_of(chat: Chat) -> dict[str, Any]:
    """Every field as JSON, including those with their default, so that an added field differs from a changed one."""
    fields = {name: getattr(chat, name) for name in chat.__struct_fields__}
    return msgspec.json.decode(msgspec.json.encode(fields), type=dict[str, Any])


if __name__ == "__main__":
    for written in write_all(Path(__file__).parent / sys.argv[1]):
        print(written.name)
