"""The bodies of the routes of providers, model configurations and prompts."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from antiphon.core.values import Value


class CreateProviderBody(Value):
    """`secret` is `env:NAME`, `file:PATH` or the secret itself; it is never returned."""

    name: str
    kind: str
    base_url: str = ""
    secret: str = ""
    is_enabled: bool = True


class ChangeProviderBody(Value):
    """A new kind or base_url deletes the secret unless a new one is given; null deletes it."""

    name: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    secret: str | UnsetType | None = UNSET
    is_enabled: bool | UnsetType = UNSET


class ProviderAnswer(Value):
    """`base_url` and `secret_reference` (where the secret is stored, if not in the store) are for admins only."""

    id: str
    name: str
    kind: str
    has_secret: bool
    is_enabled: bool
    created_at: str
    updated_at: str
    base_url: str | UnsetType = UNSET
    secret_reference: str | UnsetType = UNSET


class ProvidersAnswer(Value):
    providers: list[ProviderAnswer]


class CreateModelConfigBody(Value):
    """`parameters` are added to each request to the provider, unchanged."""

    name: str
    model: str
    parameters: dict[str, Any] = {}
    is_default: bool = False
    is_enabled: bool = True


class ChangeModelConfigBody(Value):
    name: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    is_default: bool | UnsetType = UNSET
    is_enabled: bool | UnsetType = UNSET


class ModelConfigAnswer(Value):
    id: str
    name: str
    model: str
    parameters: dict[str, Any]
    is_default: bool
    is_enabled: bool
    created_at: str
    updated_at: str


class ModelConfigsAnswer(Value):
    model_configs: list[ModelConfigAnswer]


class PromptBody(Value):
    prompt: str


class PromptAnswer(Value):
    prompt: str
    updated_at: str | None


class ModelAnswer(Value):
    """A model that a chat may name. `model` is what its name stands for; `is_demo`: it is the built-in demo model."""

    name: str
    model: str
    is_default: bool
    is_demo: bool


class ModelsAnswer(Value):
    """`default` is the model of a chat that names none; empty: the agent is a function, and none is configured."""

    default: str
    models: list[ModelAnswer]


class ProviderErrorAnswer(Value):
    """Why a provider cannot be used: a kind of error of models, or `invalid`, and a sentence."""

    kind: str
    message: str


class ProviderCheckAnswer(Value):
    """`models` are the names that the provider lists; its models are called `<provider's name>:<name>`."""

    ok: bool
    models: list[str]
    error: ProviderErrorAnswer | None
