"""The content of a person's message: known parts, translated parts of other APIs, and refusals."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from antiphon.core.parts import File, FileReference, Part, Reasoning, Source, Text, ToolCall, ToolResult
from antiphon.errors import Invalid
from antiphon.wire.codec import convert, decode_content, encode_content
from antiphon.wire.user_content import user_parts

PNG = base64.b64encode(b"\x89PNG fake").decode()
URL = f"data:image/png;base64,{PNG}"
FILE_ID = "0badc0de-0000-4000-8000-00000000000f"
IMAGE = File("image/png", PNG)

TRANSLATED: list[tuple[dict[str, Any], Part]] = [
    ({"type": "text", "text": "hi"}, Text("hi")),
    ({"type": "input_text", "text": "hi"}, Text("hi")),
    ({"type": "image_url", "image_url": {"url": URL}}, IMAGE),
    ({"type": "image_url", "image_url": {"url": URL, "detail": "high"}}, IMAGE),
    ({"type": "image_url", "image_url": URL}, IMAGE),
    ({"type": "input_image", "image_url": URL, "detail": "auto"}, IMAGE),
    ({"type": "input_image", "image_url": f"DATA:image/PNG;charset=utf-8;BASE64,{PNG}"}, IMAGE),
    ({"type": "input_file", "filename": "a.png", "file_data": URL}, File("image/png", PNG, name="a.png")),
    ({"type": "input_file", "filename": "a.PDF", "file_data": PNG}, File("application/pdf", PNG, name="a.PDF")),
    ({"type": "input_file", "file_url": URL}, IMAGE),
    ({"type": "file", "media_type": "image/png", "data": PNG}, IMAGE),
    ({"type": "file", "media_type": "image/png", "data": URL}, IMAGE),
    ({"type": "file", "data": URL}, IMAGE),
    ({"type": "file", "media_type": "image/png", "data": f" {PNG[:4]}\r\n{PNG[4:]}\n"}, IMAGE),
    ({"type": "file", "data": PNG, "name": "notes.md"}, File("text/markdown", PNG, name="notes.md")),
    (
        {"type": "file-reference", "file_name": "a.py", "start_line": 1, "end_line": 2, "content": "x"},
        FileReference("a.py", 1, 2, "x"),
    ),
    ({"type": "file-reference", "file_id": FILE_ID.upper()}, FileReference(file_id=FILE_ID)),
    ({"type": "file", "file_id": FILE_ID, "name": "a.png"}, FileReference("a.png", file_id=FILE_ID)),
    ({"type": "input_image", "file_id": FILE_ID}, FileReference(file_id=FILE_ID)),
    ({"type": "input_file", "file_id": FILE_ID, "filename": "a.png"}, FileReference("a.png", file_id=FILE_ID)),
    ({"type": "file", "media_type": "image/png", "data": PNG, "file_id": FILE_ID}, IMAGE),
]


@pytest.mark.parametrize(("given", "part"), TRANSLATED, ids=lambda value: str(value)[:60])
def test_known_parts_are_kept_and_those_of_other_apis_translated(given: dict[str, Any], part: Part) -> None:
    assert user_parts([given]) == (part,)
    assert user_parts([convert(given, Part)]) == (part,)  # as the APIs decode it
    assert user_parts(decode_content(encode_content([part]))) == (part,)  # a second time changes nothing


REFUSED: list[tuple[Any, str]] = [
    ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, "remote addresses are not fetched"),
    ({"type": "input_image", "image_url": "file:///etc/passwd"}, "remote addresses are not fetched"),
    ({"type": "input_file", "file_url": "https://example.org/a.pdf"}, "remote addresses are not fetched"),
    ({"type": "image_url"}, "image_url is missing"),
    ({"type": "image_url", "image_url": {"url": 7}}, "image_url is missing"),
    ({"type": "input_image", "file_id": 7}, "file_id is a string"),
    ({"type": "input_file", "file_id": "x" * 129}, "file_id is a string of at most 128"),
    ({"type": "input_file"}, "the file is missing"),
    ({"type": "file", "file_id": "f", "name": "x" * 257}, "name has at most 256"),
    ({"type": "file-reference", "file_id": "x" * 129}, "file_id is a string of at most 128"),
    ({"type": "file", "file": {"file_data": URL}}, "needs media_type and data"),
    ({"type": "file", "media_type": "image/png"}, "needs media_type and data"),
    ({"type": "input_text"}, "text is a string"),
    ({"type": "input_text", "text": ["a"]}, "text is a string"),
    ({"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}, "not 'input_audio'"),
    ({"type": "video", "url": URL}, "not 'video'"),
    ({"type": "x" * 500}, "not 'xxx"),
    ({"type": "file", "media_type": "image/png", "data": "%%%"}, "not base64"),
    ({"type": "file", "media_type": "image/png", "data": PNG[:-1]}, "not base64"),
    ({"type": "file", "media_type": "image/png", "data": "漢字"}, "not base64"),
    ({"type": "file", "media_type": "image/png", "data": "data:image/png;base64,"}, "data is empty"),
    ({"type": "file", "media_type": "image/png", "data": "data:text/plain,hello"}, "must be base64"),
    ({"type": "file", "media_type": "image/png", "data": "   "}, "data is empty"),
    ({"type": "file", "data": PNG, "name": "n" * 300}, "at most 256"),
    (Reasoning("hm"), "not 'reasoning'"),
    (ToolCall("c", "t", {}), "not 'tool-call'"),
    (ToolResult("c", "t", 1), "not 'tool-result'"),
    (Source(url="https://example.org"), "not 'source'"),
    ({"text": "no type"}, "content"),
    (7, "not 'int'"),
]


@pytest.mark.parametrize(("given", "sentence"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_part_that_cannot_be_sent_to_a_model_is_refused_with_a_sentence(given: Any, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        user_parts([Text("first"), given])
    assert sentence in str(refused.value)
    assert "content[1]" in str(refused.value)
    assert len(str(refused.value)) < 300
    assert PNG not in str(refused.value)


@pytest.mark.parametrize("filler", ["=", ";a=b", ";", "a", ","])
def test_a_long_head_of_a_data_url_is_refused_at_once(filler: str) -> None:
    """A pattern that tries every split of the parameters would take minutes."""
    with pytest.raises(Invalid):
        user_parts([{"type": "image_url", "image_url": {"url": "data:;" + filler * 1_000_000}}])
