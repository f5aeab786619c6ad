"""What an editor can set of a session: the model of the chat, and what a message does while a turn runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MODEL = "model"
WHEN_BUSY = "when_busy"
DEFAULT_MODEL = ":default"
"""The value for the server's default: no model has such a name."""

MODES = {
    "queue": ("Queue", "A message sent while a turn runs waits until the turn has ended."),
    "steer": ("Steer", "A message sent while a turn runs joins it before its next model call."),
    "interrupt": ("Interrupt", "A message sent while a turn runs interrupts it, and is answered next."),
}
"""The modes of a session: what a message does while a turn runs, which another client may have started."""
OPTIONS_MAX = 200
"""Maximum number of models that are offered."""


def modes(current: str) -> dict[str, Any]:
    """The state of the modes."""
    shown = [{"id": name, "name": title, "description": words} for name, (title, words) in MODES.items()]
    return {"currentModeId": current, "availableModes": shown}


def model_names(configs: Iterable[Mapping[str, Any]], current: str) -> dict[str, str]:
    """The models of a chat, with their descriptions: the default, those that are configured, and its own."""
    enabled = [config for config in configs if config["is_enabled"]][:OPTIONS_MAX]
    default = next((config["name"] for config in enabled if config["is_default"]), "")
    names = {DEFAULT_MODEL: f"The server's default{f': {default}' if default else ''}"}
    names |= {config["name"]: config["model"] for config in enabled}
    return names if not current else {**names, current: names.get(current, "")}


def config_options(models: Mapping[str, str], *, model: str, when_busy: str) -> list[dict[str, Any]]:
    """All options with their values."""
    choices = [
        {"value": name, "name": "Default" if name == DEFAULT_MODEL else name}
        | ({"description": words} if words else {})
        for name, words in models.items()
    ]
    busy = [{"value": name, "name": title, "description": words} for name, (title, words) in MODES.items()]
    return [
        {
            "id": MODEL,
            "name": "Model",
            "category": "model",
            "description": "The model of this chat, for all its clients.",
            "type": "select",
            "currentValue": model or DEFAULT_MODEL,
            "options": choices,
        },
        {
            "id": WHEN_BUSY,
            "name": "While a turn runs",
            "category": "mode",
            "description": "What a message of this editor does while a turn runs.",
            "type": "select",
            "currentValue": when_busy,
            "options": busy,
        },
    ]
