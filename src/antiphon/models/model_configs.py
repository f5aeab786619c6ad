"""A model configuration: a name for a model with parameters, which can be used wherever a model is named."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from antiphon.core.values import Value
from antiphon.errors import Invalid, TooLarge

NAME_MAX = 128
"""Maximum length of a name, in characters."""
MODEL_MAX = 256
"""Maximum length of a model's name, in characters."""
PARAMETERS_BYTES_MAX = 16 * 1024
"""Maximum size of the parameters as JSON, in bytes."""
PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
RESERVED = frozenset(
    {"model", "messages", "stream", "stream_options", "tools", "functions", "n", "user", "store", "metadata"}
)
"""Parameters that a request sets itself, or that change what the provider stores or returns in an unsupported way."""


class ModelConfig(Value):
    """`model` is the model, `<provider>:<model>` or `rehearsal`; `parameters` are sent with each call of it."""

    config_id: str
    name: str
    model: str
    parameters: dict[str, Any] = {}
    is_default: bool = False
    is_enabled: bool = True
    created_at: int = 0
    updated_at: int = 0


def check_config_name(name: str) -> str:
    """The name, stripped. Raises `Invalid` for one that a model can have: with a colon, or `rehearsal`."""
    name = name.strip()
    if not 0 < len(name) <= NAME_MAX or not name.isprintable() or ":" in name or name == "rehearsal":
        raise Invalid("name", f"1 to {NAME_MAX} printable characters without a colon; not `rehearsal`")
    return name


def check_model(model: str) -> str:
    provider, colon, name = model.partition(":")
    is_whole = model == "rehearsal" or (colon and provider and name)
    if not is_whole or len(model) > MODEL_MAX or not model.isprintable():
        raise Invalid("model", "`<provider>:<model>` or `rehearsal`")
    return model


def check_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    for name in parameters:
        if not PARAMETER.fullmatch(name):
            raise Invalid("parameters", f"{name[:40]!r} is no parameter's name")
        if name in RESERVED:
            raise Invalid("parameters", f"{name} is not for a configuration to say")
    if not _is_finite(parameters):
        raise Invalid("parameters", "numbers must be finite")
    if len(msgspec.json.encode(parameters)) > PARAMETERS_BYTES_MAX:
        raise TooLarge("parameters (in bytes)", PARAMETERS_BYTES_MAX)
    return parameters


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)
