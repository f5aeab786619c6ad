"""`/v1/models`: the default model, the enabled model configurations, and the rehearsal model."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.table import Call
from antiphon.errors import NotFound

DEFAULT = "antiphon"
"""The name of the model that a chat has if it names none."""


async def list_models(call: Call) -> Response:
    return JsonAnswer({"object": "list", "data": await _models(call)})


async def retrieve_model(call: Call) -> Response:
    name = call.path["model"]
    found = next((model for model in await _models(call) if model["id"] == name), None)
    if found is None:
        raise NotFound("model")
    return JsonAnswer(found)


async def _models(call: Call) -> list[dict[str, Any]]:
    configuration = await call.instance.configs.fresh()
    named = {
        config.name: config.created_at // 1_000_000 for config in configuration.model_configs if config.is_enabled
    }
    since = call.instance.started_at // 1_000_000
    names = {DEFAULT: since, call.instance.default_model(): since} | named
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "antiphon"} for name, created in names.items()
    ]
