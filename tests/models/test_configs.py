"""Providers, model configurations and prompts: created, checked, limited and removed."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.errors import Invalid, NotFound, TooLarge, TooMany
from antiphon.models.configs import ConfigLimits
from antiphon.ports import Store

from .configs import CANARY, OWNER, URL, replica

pytestmark = pytest.mark.anyio


# --- providers


async def test_a_provider_is_created_changed_and_deleted(store: Store) -> None:
    configs = replica(store)
    made = await configs.create_provider(name="acme", kind="openai", base_url=URL + "/")
    assert made.base_url == URL
    assert (await configs.fresh()).providers == (made,)
    changed = await configs.change_provider(made.provider_id, name="acme2", is_enabled=False)
    assert (changed.name, changed.is_enabled, changed.created_at) == ("acme2", False, made.created_at)
    assert changed.updated_at > made.updated_at
    await configs.delete_provider(made.provider_id)
    assert (await configs.fresh()).providers == ()
    for refused in (configs.delete_provider(made.provider_id), configs.change_provider(made.provider_id, name="x")):
        with pytest.raises(NotFound):
            await refused


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "Upper"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a:b"}, "name"),
        ({"name": "rehearsal"}, "name"),
        ({"name": "x" * 64}, "name"),
        ({"kind": "gemini"}, "kind"),
        ({"base_url": "ftp://models.example.com"}, "base_url"),
        ({"base_url": "http://models.example.com"}, "base_url"),
        ({"base_url": "https://user:word@models.example.com"}, "base_url"),
        ({"base_url": "https://169.254.169.254/v1"}, "base_url"),
        ({"secret": "two words"}, "secret"),
        ({"secret": "line\nbreak"}, "secret"),
        ({"secret": "env:lower-dash"}, "secret"),
        ({"secret": "env:ANTIPHON_SECRET_KEY"}, "secret"),
        ({"secret": "file:/etc/passwd"}, "secret"),
        ({"secret": "file:/run/secrets/../../etc/passwd"}, "secret"),
        ({"kind": "rehearsal", "secret": CANARY}, "secret"),
        ({"kind": "rehearsal", "base_url": URL}, "base_url"),
    ],
)
async def test_an_invalid_provider_is_refused_without_showing_its_secret(
    store: Store, given: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await replica(store).create_provider(**{"name": "acme", "kind": "openai", **given})
    assert refused.value.field == field
    assert given.get("secret", CANARY) not in str(refused.value) + repr(refused.value)
    assert await store.config_version() == 0


async def test_names_are_unique_and_the_number_of_entries_is_limited(store: Store) -> None:
    configs = replica(store, limits=ConfigLimits(providers_max=2, model_configs_max=0))
    made = await configs.create_provider(name="a", kind="rehearsal")
    await configs.change_provider(made.provider_id, name="a")
    other = await configs.create_provider(name="b", kind="rehearsal")
    for refused in (
        configs.create_provider(name="a", kind="rehearsal"),
        configs.change_provider(other.provider_id, name="a"),
    ):
        with pytest.raises(Invalid, match="another provider has this name"):
            await refused
    with pytest.raises(TooMany):
        await configs.create_provider(name="c", kind="rehearsal")
    with pytest.raises(TooMany):
        await configs.create_model_config(name="c", model="rehearsal")


# --- model configurations


async def test_at_most_one_model_configuration_is_the_default(store: Store) -> None:
    configs = replica(store)
    first = await configs.create_model_config(name="fast", model="acme:small", is_default=True)
    assert configs.current.default_model == "fast"
    second = await configs.create_model_config(
        name="Deep thought", model="acme:large", parameters={"temperature": 0.5}, is_default=True
    )
    assert [item.is_default for item in configs.current.model_configs] == [False, True]
    await configs.change_model_config(first.config_id, is_default=True)
    assert configs.current.default_model == "fast"
    await configs.change_model_config(first.config_id, is_enabled=False)
    assert configs.current.default_model == ""
    assert configs.current.named_config("Deep thought") == configs.current.named_config(second.config_id)
    await configs.delete_model_config(first.config_id)
    assert [item.name for item in configs.current.model_configs] == ["Deep thought"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a:b"}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"model": "acme"}, "model"),
        ({"model": ":x"}, "model"),
        ({"model": "acme:"}, "model"),
        ({"parameters": {"messages": []}}, "parameters"),
        ({"parameters": {"stream": False}}, "parameters"),
        ({"parameters": {"a b": 1}}, "parameters"),
        ({"parameters": {"x": [{"y": float("inf")}]}}, "parameters"),
    ],
)
async def test_an_invalid_model_configuration_is_refused(store: Store, given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await replica(store).create_model_config(**{"name": "fast", "model": "acme:small", **given})
    assert refused.value.field == field
    with pytest.raises(TooLarge):
        await replica(store).create_model_config(name="x", model="a:b", parameters={"x": "y" * 20_000})


# --- prompts


async def test_a_prompt_is_stored_limited_and_removed(store: Store) -> None:
    configs = replica(store)
    kept = await configs.set_prompt(OWNER, "Be brief.\ud800")
    assert kept.text == "Be brief.\ufffd"
    assert await configs.prompt(OWNER) == await configs.prompt(OWNER) == kept
    with pytest.raises(TooLarge):
        await configs.set_prompt(OWNER, "ü" * (128 * 1024 + 1))
    await configs.set_prompt(OWNER, "")
    assert (await configs.prompt(OWNER)).text == ""
    assert (await store.read_config("prompt"))[0] == ()


async def test_the_cache_of_prompts_is_bounded(store: Store) -> None:
    configs = replica(store, limits=ConfigLimits(prompts_bytes_max=5_000))
    for number in range(20):
        await configs.prompt(f"owner {number}")
        assert configs._prompts.size <= 5_000
    assert 0 < len(configs._prompts) < 20
    configs._prompts.clear()
    assert configs._prompts.size == 0
