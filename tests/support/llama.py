"""llama.cpp's own server with weights made here: a model that counts (`w1 w2 w3 ...`), whatever it is asked.

The weights are a GGUF file of one layer that adds nothing. The embedding of a token is a unit vector of its own, and
the output matrix has a 1 from each token to the one that follows it. So the next word depends only on the last token:
`w2` after `w1`, `w1` after the last word, and `w1` after anything else. A continued answer is thus known exactly. One
more token is a whole tool call, which `logit_bias` makes the model write (`CALLS`).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from programs import program

WORDS = 300
CONTEXT = 4096
"""Tokens of a chat that the server accepts."""
READY_S = 30.0
TEMPLATE = r"""\
{%- if tools %}
  {{- '<|system|><tools>' }}
  {%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
  {{- '\n</tools><|end|>\n' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'assistant' %}
    {{- '<|assistant|>' }}
    {%- if message.content %}{{- message.content }}{%- endif %}
    {%- for tool_call in message.tool_calls %}
      {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
      {{- '\n<tool_call>\n{"name": "' }}{{- tool_call.name }}
      {{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|end|>\n' }}
  {%- elif message.role == 'tool' %}
    {{- '<|user|>\n<tool_response>\n' + message.content + '\n</tool_response><|end|>\n' }}
  {%- else %}
    {{- '<|' + message.role + '|>' + message.content + '<|end|>\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"""
"""The server finds out by itself how this template writes tool calls."""
CALL = '<tool_call>\n{"name": "weather", "arguments": {"unit": "celsius"}}\n</tool_call>'
CALLS = {"logit_bias": {"259": 100}}
"""The parameters with which the answer is this call."""
ALIGNMENT = 32
UINT32, FLOAT32, BOOL, STRING, ARRAY, INT32 = 4, 6, 7, 8, 9, 5
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def word(number: int) -> str:
    return f"w{number}"


def counted(count: int) -> str:
    """The first words of an answer, each with a space before it. After the last one it begins again."""
    return "".join(f" {word(number % WORDS + 1)}" for number in range(count))


def write_model(path: Path) -> None:
    """Write the model as a GGUF file."""
    special = ["<unk>", "<s>", "</s>"]
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    pieces = [CALL, "▁", "w", *"0123456789", "▁w", *(f"▁{word(number)}" for number in range(1, WORDS + 1))]
    tokens = special + bytes_ + pieces
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(pieces)]
    scores = [0.0] * 259 + [float(len(piece)) for piece in pieces]  # longer pieces are merged first
    width = -(-len(tokens) // 64) * 64
    fields: list[tuple[str, int, Any]] = [
        ("general.architecture", STRING, "llama"),
        ("llama.context_length", UINT32, 2 * CONTEXT),
        ("llama.embedding_length", UINT32, width),
        ("llama.block_count", UINT32, 1),
        ("llama.feed_forward_length", UINT32, 64),
        ("llama.attention.head_count", UINT32, width // 64),
        ("llama.attention.head_count_kv", UINT32, width // 64),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5),
        ("llama.rope.dimension_count", UINT32, 64),
        ("llama.vocab_size", UINT32, len(tokens)),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
        ("tokenizer.ggml.scores", ARRAY, (FLOAT32, scores)),
        ("tokenizer.ggml.token_type", ARRAY, (INT32, kinds)),
        ("tokenizer.ggml.bos_token_id", UINT32, 1),
        ("tokenizer.ggml.eos_token_id", UINT32, 2),
        ("tokenizer.ggml.unknown_token_id", UINT32, 0),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.chat_template", STRING, TEMPLATE),
    ]
    first, call = tokens.index(f"▁{word(1)}"), tokens.index(CALL)
    following = dict.fromkeys(range(len(tokens)), first)
    following |= {first + number: first + (number + 1) % WORDS for number in range(WORDS)}
    ones = [(to, token, 1.0) for token, to in following.items()] + [(tokens.index("</s>"), call, 10.0)]
    tensors = _tensors(width, len(tokens), _matrix(width, len(tokens), ones))
    path.write_bytes(_file(fields, tensors))


def _tensors(width: int, count: int, output: bytes) -> list[tuple[str, tuple[int, ...], bytes]]:
    ones = struct.pack(f"<{width}f", *[1.0] * width)
    square, narrow = bytes(4 * width * width), bytes(4 * width * 64)
    return [
        ("token_embd.weight", (width, count), _matrix(width, count, [(row, row, 1.0) for row in range(count)])),
        ("output_norm.weight", (width,), ones),
        ("output.weight", (width, count), output),
        ("blk.0.attn_norm.weight", (width,), ones),
        ("blk.0.ffn_norm.weight", (width,), ones),
        *((f"blk.0.attn_{name}.weight", (width, width), square) for name in ("q", "k", "v", "output")),
        ("blk.0.ffn_gate.weight", (width, 64), narrow),
        ("blk.0.ffn_up.weight", (width, 64), narrow),
        ("blk.0.ffn_down.weight", (64, width), narrow),
    ]


def _matrix(width: int, rows: int, places: Sequence[tuple[int, int, float]]) -> bytes:
    data = bytearray(4 * width * rows)
    for row, column, value in places:
        struct.pack_into("<f", data, 4 * (row * width + column), value)
    return bytes(data)


def _file(fields: list[tuple[str, int, Any]], tensors: list[tuple[str, tuple[int, ...], bytes]]) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    for name, kind, value in fields:
        head += _value(STRING, name) + struct.pack("<I", kind) + _value(kind, value)
    data = bytearray()
    for name, shape, content in tensors:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += _value(STRING, name) + dimensions + struct.pack("<IQ", 0, len(data))
        data += content + bytes(-len(content) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + bytes(data)


def _value(kind: int, value: Any) -> bytes:
    match kind:
        case 8:  # STRING
            text = value.encode()
            return struct.pack("<Q", len(text)) + bytes(text)
        case 9:  # ARRAY
            item_kind, items = value
            return struct.pack("<IQ", item_kind, len(items)) + b"".join(_value(item_kind, item) for item in items)
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}[kind], value)


@contextlib.asynccontextmanager
async def llama_server(folder: Path, port: int) -> AsyncIterator[str]:
    """The base URL of a server of its own process, with two slots."""
    path = folder / "counting.gguf"
    write_model(path)
    options = ("--ctx-size", str(2 * CONTEXT), "--parallel", "2", "--threads", "1", "--n-gpu-layers", "0")
    with open(folder / "llama-server.log", "wb") as log:  # noqa: ASYNC230 - a local file, once
        process = await asyncio.create_subprocess_exec(
            program("llama-server"),
            *("--model", str(path), "--port", str(port), "--no-warmup", *options),
            stdout=log,
            stderr=log,
        )
    try:
        await _wait_ready(process, port, folder / "llama-server.log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _wait_ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            assert process.returncode is None, log.read_text()[-2000:]
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /health HTTP/1.0\r\n\r\n")
                answer = await reader.read()
                writer.close()
                if b" 200 " in answer[:32]:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.05)
