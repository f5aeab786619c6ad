"""JSON Schemas of tools, made from the types of their arguments and results."""

from __future__ import annotations

from typing import Any

import msgspec

_TEMPLATE = "{name}"


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of a struct without references: clients differ in what they can resolve."""
    (root,), components = msgspec.json.schema_components([kind], ref_template=_TEMPLATE)
    resolved = _resolved(root, components)
    assert isinstance(resolved, dict)
    return resolved


def _resolved(schema: Any, components: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_resolved(item, components) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(components[schema["$ref"]], components)
    resolved = {name: _resolved(below, components) for name, below in schema.items()}
    if "enum" in resolved and all(isinstance(value, str) for value in resolved["enum"]):
        resolved.setdefault("type", "string")  # models' providers want it
    return resolved
