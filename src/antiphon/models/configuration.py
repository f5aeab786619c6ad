"""All providers and model configurations at one version, and their rows in the store."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import structlog

from antiphon.core.values import Value
from antiphon.errors import NotFound
from antiphon.models.model_configs import ModelConfig
from antiphon.models.providers import Provider
from antiphon.ports import ConfigRow
from antiphon.wire.codec import encode

PROVIDER, MODEL_CONFIG, PROMPT = "provider", "model_config", "prompt"
"""The kinds of rows."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Configuration(Value):
    """All providers and model configurations at one version."""

    version: int = -1
    providers: tuple[Provider, ...] = ()
    model_configs: tuple[ModelConfig, ...] = ()

    def provider(self, provider_id: str) -> Provider:
        return _one(self.providers, "provider_id", provider_id, "provider")

    def model_config(self, config_id: str) -> ModelConfig:
        return _one(self.model_configs, "config_id", config_id, "model_config")

    def named_provider(self, name: str) -> Provider | None:
        return next((item for item in self.providers if item.name == name), None)

    def named_config(self, name: str) -> ModelConfig | None:
        """The model configuration with this name or id."""
        return next((item for item in self.model_configs if name in (item.name, item.config_id)), None)

    @property
    def default_model(self) -> str:
        """The name of the default model configuration; empty if there is none or it is disabled."""
        return next((item.name for item in self.model_configs if item.is_default and item.is_enabled), "")


def row_of(kind: str, config_id: str, value: Value) -> ConfigRow:
    return ConfigRow(kind=kind, config_id=config_id, body=encode(value))


def decoded(rows: tuple[ConfigRow, ...], kind: type[T]) -> tuple[T, ...]:
    """The rows that this version can decode, in the order of their creation."""
    found = []
    for row in rows:
        try:
            found.append(msgspec.json.decode(row.body or b"", type=kind))
        except msgspec.DecodeError:
            log.error("config_unreadable", kind=row.kind, config_id=row.config_id)
    return tuple(sorted(found, key=lambda item: item.created_at))  # type: ignore[attr-defined]


def _one(items: tuple[T, ...], field: str, wanted: str, what: str) -> T:
    for item in items:
        if getattr(item, field) == wanted:
            return item
    raise NotFound(what)
