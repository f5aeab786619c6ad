"""`parse` returns requests or refusals for any bytes, and a response is decoded as it was encoded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import NotFound, PeerError
from antiphon.wire import jsonrpc

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=8,
)
MESSAGE = st.fixed_dictionaries(
    {}, optional={"jsonrpc": st.just("2.0") | JSON, "id": JSON, "method": st.text() | JSON, "params": JSON}
)


@given(st.binary())
def test_any_bytes_are_parsed(data: bytes) -> None:
    assert jsonrpc.parse(data).items


@given(MESSAGE | st.lists(MESSAGE | JSON, max_size=5))
def test_any_json_is_a_request_or_refused(message: Any) -> None:
    parsed = jsonrpc.parse(json.dumps(message).encode())
    assert parsed.is_batch == (isinstance(message, list) and bool(message))
    for item in parsed.items:
        if isinstance(item, jsonrpc.Refusal):
            answer = json.loads(jsonrpc.encode_refusal(item))
            assert answer["error"]["code"] in (-32700, -32600)


@given(st.binary())
def test_any_bytes_are_an_answer_or_a_peer_error(data: bytes) -> None:
    try:
        jsonrpc.decode_answer(data)
    except PeerError:
        pass


@pytest.mark.parametrize("call_id", [1, "x", None])
def test_answers_are_read_as_they_were_written(call_id: Any) -> None:
    echoed = jsonrpc.parse(json.dumps({"jsonrpc": "2.0", "method": "m", "id": call_id}).encode()).items[0].id
    assert echoed is not None
    answer = jsonrpc.decode_answer(jsonrpc.encode_result(echoed, {"a": [1]}))
    assert (answer.id, json.loads(bytes(answer.result)), answer.error_code) == (call_id, {"a": [1]}, 0)
    refused = jsonrpc.decode_answer(jsonrpc.encode_refusal(jsonrpc.refusal_of(NotFound(), echoed)))
    assert (refused.error_code, refused.error_data["code"]) == (-32000, "not_found")


NULL_PARAMS = {"jsonrpc": "2.0", "id": "1", "method": "m", "params": None}


@pytest.mark.parametrize(
    "message",
    [NULL_PARAMS, [NULL_PARAMS, NULL_PARAMS], {name: NULL_PARAMS[name] for name in NULL_PARAMS if name != "id"}],
    ids=["a call", "a batch", "a notification"],
)
def test_null_params_are_absent_params(message: Any) -> None:
    for item in jsonrpc.parse(json.dumps(message).encode()).items:
        assert isinstance(item, jsonrpc.Request)
        assert item.params is None


@pytest.mark.parametrize("params", [True, 0, "", "x", 1.5])
def test_params_of_other_types_are_refused(params: Any) -> None:
    (item,) = jsonrpc.parse(json.dumps(NULL_PARAMS | {"params": params}).encode()).items
    assert isinstance(item, jsonrpc.Refusal)
    assert item.code == jsonrpc.INVALID_REQUEST


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"result": {"a": 1}, "error": None}, ({"a": 1}, 0)),
        ({"result": None, "error": {"code": -32000, "message": "no", "data": None}}, (None, -32000)),
        ({"result": None}, (None, 0)),
        ({"result": None, "error": None}, (None, 0)),
    ],
)
def test_a_null_error_is_an_absent_error(answer: Any, expected: tuple[Any, int]) -> None:
    read = jsonrpc.decode_answer(json.dumps({"jsonrpc": "2.0", "id": "1", **answer}).encode())
    assert (json.loads(bytes(read.result)), read.error_code) == expected


@pytest.mark.parametrize("fields", [{}, {"error": None}, {"error": {"message": "no code"}}, {"error": "text"}])
def test_an_answer_without_result_or_readable_error_is_a_peer_error(fields: Any) -> None:
    with pytest.raises(PeerError):
        jsonrpc.decode_answer(json.dumps({"jsonrpc": "2.0", "id": "1", **fields}).encode())
