"""/openapi.json (3.1), made from the route table and its types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.api.http.answers import STATUS
from antiphon.api.http.table import Answer, Operation, Policy
from antiphon.version import __version__
from antiphon.wire.gotime import Time

TEMPLATE = "#/components/schemas/{name}"


COOKIE_NOTE = "Made by POST /session; where the address has a port, its name ends in `_<port>`."


def openapi_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    types = list(dict.fromkeys(kind for operation in operations for kind in _types_of(operation)))
    schemas, components = msgspec.json.schema_components(types, ref_template=TEMPLATE, schema_hook=_schema_of_other)
    _open_unions(components)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.full_path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Antiphon",
            "version": __version__,
            "description": "A session server for AI chats and agents.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "antiphon_session", "description": COOKIE_NOTE},
            },
        },
    }


def _types_of(operation: Operation) -> list[Any]:
    kinds = [answer.type for answer in operation.answers] + [operation.body, operation.error_type]
    return [kind for kind in kinds if kind is not None]


def _schema_of_other(kind: type) -> dict[str, Any]:
    if issubclass(kind, Time):
        return {"type": "string", "format": "date-time"}
    raise NotImplementedError(f"no schema for {kind}")


def _open_unions(schema: Any) -> None:
    """Allow unknown types in unions tagged by `type`: the server accepts them and returns them unchanged."""
    for below in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _open_unions(below)
    if isinstance(schema, dict) and isinstance(discriminator := schema.get("discriminator"), dict):
        name = discriminator["propertyName"]
        unknown = {"type": "string", "not": {"enum": list(discriminator["mapping"])}}
        schema["anyOf"].append({"type": "object", "properties": {name: unknown}, "required": [name]})
        del schema["discriminator"]  # its mapping would have to be complete


def _operation(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "x-policy": operation.policy,
        "parameters": _parameters(operation),
        "responses": {str(answer.status): _answer(operation, answer, schema_of) for answer in operation.answers}
        | _errors(operation),
    }
    if operation.policy is not Policy.OPEN:
        shown["security"] = [{"bearer": []}, *([] if operation.policy is Policy.SHARE else [{"cookie": []}])]
    if operation.body is not None:
        shown["requestBody"] = {
            "required": not operation.is_body_optional,
            "content": {"application/json": {"schema": schema_of[operation.body]}},
        }
    if operation.is_upload:
        shown["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    return shown


def _answer(operation: Operation, answer: Answer, schema_of: dict[Any, Any]) -> dict[str, Any]:
    if operation.is_stream:
        text = {"schema": {"type": "string"}}
        return {"description": "Server-sent events.", "content": {"text/event-stream": text}}
    if operation.is_download and answer.status < 300:
        return {"description": "Done.", "content": {"*/*": {}}}
    if answer.type is None:
        return {"description": "Done."}
    content = {operation.media_type: {"schema": schema_of[answer.type]}}
    if operation.may_stream:
        content["text/event-stream"] = {}  # of the protocol's own events; tools hold a schema against each of them
    return {"description": "Done.", "content": content}


def _errors(operation: Operation) -> dict[str, Any]:
    error: dict[str, Any] = {
        operation.media_type: {"schema": {"$ref": TEMPLATE.format(name=operation.error_type.__name__)}}
    }
    if operation.has_text_errors:
        error = {"text/plain": {"schema": {"type": "string"}}}
    statuses = sorted(set(STATUS.values()))
    if operation.prefix == "" and operation.policy is Policy.OPEN:
        statuses = [403, 500]
    codes = {status: sorted(code for code, number in STATUS.items() if number == status) for status in statuses}
    if operation.is_download:
        statuses.append(416)
        codes[416] = ["invalid"]
    if operation.protocol and 422 in codes:  # a protocol has its own statuses, too: the usual ones
        statuses = [400 if status == 422 else status for status in statuses]
        codes[400] = codes[422]
    return {
        str(status): {"description": ", ".join(codes[status]), "content": error}
        for status in statuses
        if status not in {answer.status for answer in operation.answers}
    }


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
        for name in re.findall(r"\{(\w+)\}", operation.full_path)
    ]
    if operation.query is not None:
        (schema,), components = msgspec.json.schema_components([operation.query], ref_template=TEMPLATE)
        properties = components[schema["$ref"].rsplit("/", 1)[-1]]["properties"]
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": shown} for name, shown in properties.items()
        ]
    if operation.name == "stream":
        cursor = {"type": "string", "description": "the cursor to resume from; wins over `after`"}
        parameters.append({"name": "Last-Event-ID", "in": "header", "required": False, "schema": cursor})
    if operation.is_upload:
        name = {"type": "string", "description": "the file's name, as percent-encoded UTF-8"}
        parameters.append({"name": "X-Filename", "in": "header", "required": False, "schema": name})
    if operation.is_download:
        parameters += [
            {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
            for name in ("Range", "If-Range", "If-None-Match")
        ]
    return parameters


def _path_schema(name: str) -> dict[str, Any]:
    if name in ("message_id", "queued_id"):
        return {"type": "integer", "minimum": 1, "maximum": 10**15 - 1}
    return {"type": "string"}
