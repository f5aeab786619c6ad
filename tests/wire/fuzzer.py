"""One decoder of the wire under atheris: `python fuzzer.py <reader> [libFuzzer's options]`."""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports():
    from antiphon.errors import PeerError
    from antiphon.wire import jsonrpc
    from antiphon.wire.instance import decode_frame, read_payload


def read_both(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        read_payload(decode_frame(data))


def parse(data: bytes) -> None:
    for item in jsonrpc.parse(data).items:
        if isinstance(item, jsonrpc.Refusal):
            jsonrpc.encode_refusal(item)


def decode_answer(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        jsonrpc.decode_answer(data)


def only_decode(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        decode_frame(data)


READERS = {
    "decode_frame": only_decode,
    "read_payload": read_both,
    "parse": parse,
    "decode_answer": decode_answer,
}

if __name__ == "__main__":
    reader = READERS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, reader)
    atheris.Fuzz()
