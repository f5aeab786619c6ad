"""The routes of providers and model configurations, which an admin writes, and of the owner's system prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import asdict
from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer, no_content
from antiphon.api.http.shapes import configuration as s
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.errors import AttemptFailed, Invalid
from antiphon.instance import Instance
from antiphon.models.configs import Configs
from antiphon.models.model_configs import ModelConfig
from antiphon.models.prompts import Prompt
from antiphon.models.providers import Provider
from antiphon.models.registry import REHEARSAL
from antiphon.models.secret_box import reference_of
from antiphon.wire.gotime import format_time_us

SECRET_BODY_MAX = 32 * 1024
PARAMETERS_BODY_MAX = 128 * 1024
PROMPT_BODY_MAX = 2 * 1024 * 1024
"""Maximum sizes of bodies, in bytes. All characters of a prompt may be escaped."""


def _configs(call: Call) -> Configs:
    return call.instance.configs


# --- providers


async def list_providers(call: Call) -> Response:
    configuration = await _configs(call).fresh()
    return JsonAnswer({"providers": [_provider_json(call, item) for item in configuration.providers]})


async def create_provider(call: Call) -> Response:
    body: s.CreateProviderBody = call.body
    made = await _configs(call).create_provider(
        name=body.name, kind=body.kind, base_url=body.base_url, secret=body.secret, is_enabled=body.is_enabled
    )
    return JsonAnswer(_provider_json(call, made), 201)


async def get_provider(call: Call) -> Response:
    configuration = await _configs(call).fresh()
    return JsonAnswer(_provider_json(call, configuration.provider(call.path["provider_id"])))


async def change_provider(call: Call) -> Response:
    body: s.ChangeProviderBody = call.body
    changed = await _configs(call).change_provider(call.path["provider_id"], **asdict(body))
    return JsonAnswer(_provider_json(call, changed))


async def delete_provider(call: Call) -> Response:
    await _configs(call).delete_provider(call.path["provider_id"])
    return no_content()


async def check_provider(call: Call) -> Response:
    try:
        models = await call.instance.models.list_of_provider(call.path["provider_id"])
    except Invalid as error:
        return JsonAnswer(_check_json(error="invalid", message=error.reason))
    except AttemptFailed as error:
        return JsonAnswer(_check_json(error=error.kind, message=str(error)))
    return JsonAnswer(_check_json(models))


def _check_json(models: Sequence[str] = (), *, error: str = "", message: str = "") -> dict[str, Any]:
    return {
        "ok": not error,
        "models": list(models),
        "error": {"kind": error, "message": message} if error else None,
    }


def _provider_json(call: Call, provider: Provider) -> dict[str, Any]:
    """A provider as clients see it; of its secret only whether there is one."""
    shown = {
        "id": provider.provider_id,
        "name": provider.name,
        "kind": provider.kind,
        "has_secret": bool(provider.secret),
        "is_enabled": provider.is_enabled,
        "created_at": format_time_us(provider.created_at),
        "updated_at": format_time_us(provider.updated_at),
    }
    if call.token is None or not call.token.is_admin:
        return shown
    return shown | {"base_url": provider.base_url, "secret_reference": reference_of(provider.secret)}


# --- model configurations


async def list_model_configs(call: Call) -> Response:
    configuration = await _configs(call).fresh()
    return JsonAnswer({"model_configs": [_config_json(item) for item in configuration.model_configs]})


async def create_model_config(call: Call) -> Response:
    body: s.CreateModelConfigBody = call.body
    made = await _configs(call).create_model_config(
        name=body.name,
        model=body.model,
        parameters=body.parameters,
        is_default=body.is_default,
        is_enabled=body.is_enabled,
    )
    return JsonAnswer(_config_json(made), 201)


async def get_model_config(call: Call) -> Response:
    configuration = await _configs(call).fresh()
    return JsonAnswer(_config_json(configuration.model_config(call.path["config_id"])))


async def change_model_config(call: Call) -> Response:
    body: s.ChangeModelConfigBody = call.body
    changed = await _configs(call).change_model_config(call.path["config_id"], **asdict(body))
    return JsonAnswer(_config_json(changed))


async def delete_model_config(call: Call) -> Response:
    await _configs(call).delete_model_config(call.path["config_id"])
    return no_content()


def _config_json(config: ModelConfig) -> dict[str, Any]:
    return {
        "id": config.config_id,
        "name": config.name,
        "model": config.model,
        "parameters": config.parameters,
        "is_default": config.is_default,
        "is_enabled": config.is_enabled,
        "created_at": format_time_us(config.created_at),
        "updated_at": format_time_us(config.updated_at),
    }


# --- what a chat may name


async def list_chat_models(call: Call) -> Response:
    return JsonAnswer(await _models_json(call.instance))


async def _models_json(instance: Instance) -> dict[str, Any]:
    """The default model first, then the enabled model configurations by name, then the demo model. An agent that is a
    function answers by itself, so there the demo model never does."""
    configuration = await instance.configs.fresh()
    named = {config.name: config.model for config in configuration.model_configs if config.is_enabled}
    default = instance.default_model()
    models = {default: named.get(default, default), **dict(sorted(named.items())), REHEARSAL: REHEARSAL}
    if not instance.asks_models:
        models.pop(REHEARSAL)
        default = "" if default == REHEARSAL else default
    shown = [
        {"name": name, "model": model, "is_default": name == default, "is_demo": model == REHEARSAL}
        for name, model in models.items()
    ]
    return {"default": default, "models": shown}


# --- the owner's system prompt


async def get_prompt(call: Call) -> Response:
    return JsonAnswer(_prompt_json(await _configs(call).prompt(call.owner_id)))


async def set_prompt(call: Call) -> Response:
    return JsonAnswer(_prompt_json(await _configs(call).set_prompt(call.owner_id, call.body.prompt)))


async def delete_prompt(call: Call) -> Response:
    await _configs(call).set_prompt(call.owner_id, "")
    return no_content()


def _prompt_json(prompt: Prompt) -> dict[str, Any]:
    return {"prompt": prompt.text, "updated_at": format_time_us(prompt.updated_at) if prompt.updated_at else None}


# --- the table

_OWNER, _ADMIN = Policy.OWNER, Policy.ADMIN
_SECRET: dict[str, Any] = {"body_bytes_max": SECRET_BODY_MAX}
_PARAMETERS: dict[str, Any] = {"body_bytes_max": PARAMETERS_BODY_MAX}


ROUTES: tuple[Operation, ...] = (
    route("GET", "/providers", list_providers, _OWNER, "All providers.", (200, s.ProvidersAnswer)),
    route("POST", "/providers", create_provider, _ADMIN, "Add a provider; its models are `<name>:<model>`.",
          (201, s.ProviderAnswer), body=s.CreateProviderBody, **_SECRET),
    route("GET", "/providers/{provider_id}", get_provider, _OWNER, "One provider.", (200, s.ProviderAnswer)),
    route("PATCH", "/providers/{provider_id}", change_provider, _ADMIN,
          "Change a provider; another kind or base_url forgets its secret.",
          (200, s.ProviderAnswer), body=s.ChangeProviderBody, **_SECRET),
    route("DELETE", "/providers/{provider_id}", delete_provider, _ADMIN, "Remove a provider.", (204, None)),
    route("POST", "/providers/{provider_id}/check", check_provider, _ADMIN,
          "Ask a provider for its models: are its address and secret right?", (200, s.ProviderCheckAnswer)),
    route("GET", "/models", list_chat_models, _OWNER, "The models that a chat may name.", (200, s.ModelsAnswer)),
    route("GET", "/model-configs", list_model_configs, _OWNER, "All model configurations.",
          (200, s.ModelConfigsAnswer)),
    route("POST", "/model-configs", create_model_config, _ADMIN, "Name a model with its parameters.",
          (201, s.ModelConfigAnswer), body=s.CreateModelConfigBody, **_PARAMETERS),
    route("GET", "/model-configs/{config_id}", get_model_config, _OWNER, "One model configuration.",
          (200, s.ModelConfigAnswer)),
    route("PATCH", "/model-configs/{config_id}", change_model_config, _ADMIN, "Change a model configuration.",
          (200, s.ModelConfigAnswer), body=s.ChangeModelConfigBody, **_PARAMETERS),
    route("DELETE", "/model-configs/{config_id}", delete_model_config, _ADMIN, "Remove a model configuration.",
          (204, None)),
    route("GET", "/me/prompt", get_prompt, _OWNER,
          "The owner's system prompt, sent to every model in the owner's chats.",
          (200, s.PromptAnswer)),
    route("PUT", "/me/prompt", set_prompt, _OWNER, "Set the owner's system prompt.",
          (200, s.PromptAnswer), body=s.PromptBody, body_bytes_max=PROMPT_BODY_MAX),
    route("DELETE", "/me/prompt", delete_prompt, _OWNER, "Remove the owner's system prompt.", (204, None)),
)  # fmt: skip
