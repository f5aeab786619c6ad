"""Whether an answer is what /openapi.json says of it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jsonschema_rs

from antiphon.api.a2a import protocol as a2a
from antiphon.api.http.openapi import openapi_document
from antiphon.api.http.operations import operations_of
from antiphon.api.http.routing import Router
from antiphon.api.mcp import protocol as mcp
from antiphon.api.protocols import PROTOCOLS

from .wire import Answer

ALL = operations_of(PROTOCOLS)
DOCUMENT = openapi_document(ALL)
_ROUTER = Router(ALL)
RPC_PATHS = (mcp.PATH, a2a.RPC_PATH, a2a.CARD_PATH)
"""The addresses whose errors have the shape of JSON-RPC."""

seen: set[tuple[str, str, int]] = set()
"""What was checked so far: (method, path of the table, status)."""


def check_answer(method: str, path: str, answer: Answer) -> None:
    """Fails where the answer does not fit the document (of 400, 405 and 426 only the form)."""
    assert answer.status < 500 or answer.status == 503, answer.body
    is_text = answer.headers.get("content-type", "").startswith("text/plain")
    if answer.status >= 400 and is_text and answer.headers.get("antiphon-error"):
        assert answer.body  # the AI SDK's errors are sentences
        return
    if answer.status in (400, 405, 426, 431):
        is_rpc = path.startswith(RPC_PATHS) and "jsonrpc" in answer.json
        is_status = path.startswith(a2a.HTTP_PATH)
        kind = "RpcErrorAnswer" if is_rpc else "StatusErrorAnswer" if is_status else "ErrorAnswer"
        _validator(kind).validate(answer.json)
        return
    bare = path.partition("?")[0]
    try:
        operation, _ = _ROUTER.match(method, bare)
    except Exception:  # no route at all
        operation = None
    is_off = answer.status == 404 and answer.json["error"].get("what") == "address"  # the protocol is turned off
    if operation is None or is_off:
        if answer.status >= 400:
            _validator("ErrorAnswer").validate(answer.json)
        return
    responses = DOCUMENT["paths"][operation.full_path][method.lower()]["responses"]
    assert str(answer.status) in responses, f"{method} {operation.full_path} says nothing of {answer.status}"
    seen.add((method, operation.full_path, answer.status))
    described = responses[str(answer.status)]
    if "content" not in described:
        assert not answer.body or operation.name == "metrics", answer.body
        return
    kind = answer.headers["content-type"].partition(";")[0]
    kind = kind if kind in described["content"] else "*/*"
    assert kind in described["content"]
    if kind.endswith("json"):
        _validator(_name(described["content"][kind]["schema"])).validate(answer.json)


def _name(schema: dict[str, Any]) -> str:
    return re.sub(r".*/", "", schema["$ref"]) if "$ref" in schema else ""


@cache
def _validator(name: str) -> Any:
    """For a component of the document (without a name: for anything)."""
    if not name:
        return jsonschema_rs.Draft202012Validator({})
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
