"""The decoders of frames and responses raise `PeerError` for any bytes, and nothing else.

Always: hypothesis, from bytes, from JSON of the right shape, and from good messages that were damaged. By the slow
marker: atheris, led by what the code does with the bytes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.core.parts import CallStarted
from antiphon.errors import PeerError
from antiphon.wire import instance as i
from antiphon.wire import jsonrpc
from antiphon.wire.instance import decode_frame, encode_frame, frame_head, read_payload

FUZZER = Path(__file__).parent / "fuzzer.py"
RUNS = 300_000

DEEP = st.integers(1, 3_000).map(lambda n: b"[" * n + b"]" * n) | st.integers(1, 3_000).map(
    lambda n: b'{"a":' * n + b"0" + b"}" * n
)
ODD = st.sampled_from([b"1e999", b"-0", b"9" * 5_000, b"NaN", b'"\\ud800"', b'"\xff"', b"null", b"true", b'"0001"'])
JSON = DEEP | ODD | st.binary(max_size=40)


def frames() -> list[bytes]:
    """One good frame of each topic."""
    payloads = {topic: kind() for topic, kind in i.PAYLOAD_TYPES.items()}
    payloads[i.TOPIC_LLM_TOKEN] = i.LLMTokenPayload(
        session_id="s", draft=4, from_=0, to=1, part=CallStarted("m", "p", 1), part_index=0
    )
    return [encode_frame(frame_head(topic, "i", "/p", "s"), 5, payload) for topic, payload in payloads.items()]


def damaged(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """A good message with a stretch of it replaced."""

    def damage(message: bytes, begin: float, length: int, instead: bytes) -> bytes:
        at = int(begin * len(message))
        return message[:at] + instead + message[at + length :]

    return st.builds(damage, st.sampled_from(good), st.floats(0, 1), st.integers(0, 30), JSON)


ANSWERS = [
    b'{"jsonrpc":"2.0","result":{"a":[1]},"id":1}',
    b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"m","data":{"code":"busy"}},"id":1}',
]
CALLS = [
    b'{"jsonrpc":"2.0","method":"session.get","params":{"session_id":"s"},"id":1}',
    b'[{"jsonrpc":"2.0","method":"m","id":1.5},{"jsonrpc":"2.0","method":"m","params":[]}]',
]


@settings(derandomize=True, max_examples=200)
@given(damaged(frames()) | st.binary())
def test_a_frame_is_read_or_a_peer_error(frame: bytes) -> None:
    with contextlib.suppress(PeerError):
        envelope = decode_frame(frame)
        with contextlib.suppress(PeerError):
            read_payload(envelope)


@settings(derandomize=True, max_examples=100)
@given(st.sampled_from(sorted(i.PAYLOAD_TYPES)), st.data())
def test_a_payload_of_any_json_is_read_or_a_peer_error(topic: str, data: st.DataObject) -> None:
    fields = i.PAYLOAD_TYPES[topic].__struct_encode_fields__
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=4,
    )
    payload: Any = data.draw(st.dictionaries(st.sampled_from(fields), values, max_size=5) | values)
    with contextlib.suppress(PeerError):
        read_payload(i.Envelope(topic=topic, payload=payload))


@settings(derandomize=True, max_examples=200)
@given(damaged(ANSWERS) | JSON)
def test_an_answer_is_read_or_a_peer_error(answer: bytes) -> None:
    with contextlib.suppress(PeerError):
        jsonrpc.decode_answer(answer)


@settings(derandomize=True, max_examples=200)
@given(damaged(CALLS) | JSON)
def test_a_call_is_parsed_and_what_is_echoed_can_be_written(call: bytes) -> None:
    for item in jsonrpc.parse(call).items:
        if isinstance(item, jsonrpc.Refusal):
            json.loads(jsonrpc.encode_refusal(item))
        elif item.id is not None:
            json.loads(jsonrpc.encode_result(item.id, None))


@settings(derandomize=True, max_examples=200)
@given(damaged(CALLS) | damaged(ANSWERS) | JSON)
def test_a_message_of_an_editor_is_a_call_an_answer_or_refused(message: bytes) -> None:
    found = jsonrpc.parse_message(message)
    if isinstance(found, jsonrpc.Refusal):
        json.loads(jsonrpc.encode_refusal(found))
    elif isinstance(found, jsonrpc.Request) and found.id is not None:
        json.loads(jsonrpc.encode_result(found.id, None))


@pytest.mark.parametrize("nested", [
    b"[" * 100_000, b"[" * 5_000 + b"]" * 5_000, b'{"a":' * 100_000, b"[" * 300 + b"]" * 300,
    b'{"a":' * 300 + b"1" + b"}" * 300,
])  # fmt: skip
def test_an_answer_that_is_nested_too_deeply_is_a_peer_error(nested: bytes) -> None:
    for answer in (nested, b'{"result":%b,"id":1}', b'{"result":1,"id":%b}', b'{"error":{"data":%b},"id":1}'):
        with pytest.raises(PeerError):
            jsonrpc.decode_answer(answer.replace(b"%b", nested))


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["decode_frame", "read_payload", "parse", "decode_answer"])
def test_fuzzing_finds_nothing(tmp_path: Path, reader: str) -> None:
    pytest.importorskip("atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    good: Callable[[], list[bytes]] = {"parse": lambda: CALLS, "decode_answer": lambda: ANSWERS}.get(reader, frames)
    for n, message in enumerate(good()):
        (corpus / f"{n}").write_bytes(message)
    command = [sys.executable, str(FUZZER), reader, f"-runs={RUNS}", "-seed=1", "-max_len=2000", str(corpus)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
