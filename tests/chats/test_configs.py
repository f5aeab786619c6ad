"""Configuration as every replica sees it: checked, told to the others, in use within two seconds without a hint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.errors import AntiphonError, Invalid, NotFound, TooLarge, TooMany, Unavailable
from antiphon.models.configs import ConfigLimits, Configs
from antiphon.models.configuration import Configuration
from antiphon.models.outbound import Outbound
from antiphon.models.secret_box import SecretBox, SecretMissing, make_key
from antiphon.options import ConfigTiming
from antiphon.ports import ConfigRow, OutcomeUnknown, Store
from antiphon.testing.ids import SeededIds
from antiphon.testing.store import WrappedStore
from antiphon.wire.notify import CHAT_CONFIG_EVENT_CHANNEL
from support.waiting import wait_until

pytestmark = pytest.mark.anyio

CANARY = "sk-canary-0123456789"
OWNER = "0badc0de-0000-4000-8000-000000000001"
URL = "https://models.example.com/v1"


def box(key: str = "", **env: str) -> SecretBox:
    return SecretBox.make("", {"ANTIPHON_SECRET_KEY": key or KEY, **env})


KEY = make_key()


def replica(store: Store, bus: MemoryBus | None = None, *, seed: int = 0, **options: Any) -> Configs:
    """A replica without events of the others, unless it is given their bus."""
    return Configs(store=store, bus=bus or MemoryBus(), ids=SeededIds(seed), secrets=box(), **options)


@asynccontextmanager
async def running(configs: Configs) -> AsyncIterator[Configs]:
    task = asyncio.create_task(configs.run())
    try:
        yield configs
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        configs.close()


# --- providers


async def test_a_provider_is_made_changed_and_removed(store: Store) -> None:
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
        ({"kind": "anthropic"}, "kind"),
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
async def test_a_provider_that_cannot_be_is_refused_without_its_secret(
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


# --- secrets


async def test_a_secret_is_sealed_and_opens_only_for_what_it_was_given(store: Store) -> None:
    configs = replica(store)
    made = await configs.create_provider(name="acme", kind="openai", base_url=URL, secret=CANARY)
    assert CANARY not in repr(await store.read_config("provider"))
    assert configs.secrets.open(made.secret, made.bound_to) == CANARY
    elsewhere = msgspec.structs.replace(made, base_url="https://thief.example.com")
    for kept, bound_to, told in (
        (made.secret, elsewhere.bound_to, "made for another address"),
        (made.secret[:-8] + "AAAAAAA=", made.bound_to, "damaged"),
        ("sealed:00000000:AAAA", made.bound_to, "key 00000000, which this instance was not given"),
        ("later:what", made.bound_to, "a form that this version cannot read"),
    ):
        with pytest.raises(SecretMissing, match=told) as missing:
            configs.secrets.open(kept, bound_to)
        assert CANARY not in repr(missing.value)


async def test_changing_the_kind_or_the_address_forgets_the_secret(store: Store) -> None:
    configs = replica(store)
    made = await configs.create_provider(name="acme", kind="openai", base_url=URL, secret=CANARY)
    renamed = await configs.change_provider(made.provider_id, name="acme2", base_url=URL + "/")
    assert renamed.secret == made.secret
    moved = await configs.change_provider(made.provider_id, base_url="https://other.example.com")
    assert moved.secret == ""
    both = await configs.change_provider(made.provider_id, base_url=URL, secret=CANARY)
    assert configs.secrets.open(both.secret, both.bound_to) == CANARY
    assert (await configs.change_provider(made.provider_id, kind="rehearsal", base_url="")).secret == ""
    again = await configs.change_provider(made.provider_id, kind="openai", base_url=URL, secret="env:ACME_KEY")
    assert again.secret == "env:ACME_KEY"
    assert (await configs.change_provider(made.provider_id, secret=None)).secret == ""


async def test_without_a_key_a_secret_is_refused_and_told_what_to_do(store: Store) -> None:
    configs = Configs(store=store, bus=MemoryBus(), ids=SeededIds(0), secrets=SecretBox())
    with pytest.raises(Invalid, match=r"--secret-key-file .*config keygen.* env:NAME or file:PATH") as refused:
        await configs.create_provider(name="acme", kind="openai", secret=CANARY)
    assert CANARY not in str(refused.value)
    assert (await configs.create_provider(name="acme", kind="openai", secret="env:ACME")).secret == "env:ACME"


def test_references_are_followed_within_the_directory_of_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "acme").write_text(CANARY + "\n")
    (tmp_path / "outside").write_text("outside")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "inner").symlink_to(folder / "acme")
    (folder / "words").write_text("two words")
    keeper = SecretBox.make("", {"ACME": f" {CANARY} "}, str(folder))
    assert keeper.open("env:ACME", "") == CANARY
    for name in ("acme", "inner"):
        assert keeper.open(keeper.protect(f"file:{folder / name}", ""), "") == CANARY
    for kept in ("env:NOBODY", f"file:{folder}/link", f"file:{folder}/nothing", "file:/etc/passwd", f"file:{folder}"):
        with pytest.raises(SecretMissing) as missing:
            keeper.open(kept, "")
        assert str(tmp_path) not in str(missing.value)
    with pytest.raises(SecretMissing, match="one line"):
        keeper.open(f"file:{folder}/words", "")
    with pytest.raises(Invalid):
        keeper.protect(f"file:{folder}/link", "")


def test_keys_are_read_from_a_file_or_the_environment_and_the_newest_seals(tmp_path: Path) -> None:
    old, new = make_key(), make_key()
    file = tmp_path / "key"
    file.write_text(f"{new}\n{old}\n")
    file.chmod(0o644)
    with pytest.raises(Invalid, match="chmod o= "):
        SecretBox.make(str(file), {})
    file.chmod(0o640)
    sealed = SecretBox.make("", {"ANTIPHON_SECRET_KEY": old}).protect(CANARY, "x")
    both = SecretBox.make(str(file), {})
    assert both.open(sealed, "x") == CANARY
    assert SecretBox.make("", {"ANTIPHON_SECRET_KEY": new}).open(both.protect(CANARY, "x"), "x") == CANARY
    for text in ("", "short", "not base64 at all!"):
        file.write_text(text)
        with pytest.raises(Invalid, match="keygen"):
            SecretBox.make(str(file), {})
    with pytest.raises(Invalid, match="cannot be read"):
        SecretBox.make(str(tmp_path / "nothing"), {})


# --- model configurations


async def test_one_model_configuration_is_the_default(store: Store) -> None:
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
async def test_a_model_configuration_that_cannot_be_is_refused(
    store: Store, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await replica(store).create_model_config(**{"name": "fast", "model": "acme:small", **given})
    assert refused.value.field == field
    with pytest.raises(TooLarge):
        await replica(store).create_model_config(name="x", model="a:b", parameters={"x": "y" * 20_000})


# --- replicas


async def test_changes_made_at_once_by_many_replicas_keep_names_unique_and_one_default(store: Store) -> None:
    replicas = [replica(store, seed=i) for i in range(5)]

    async def work(number: int) -> int:
        done = 0
        for name in ("a", "b", f"own{number}"):
            with suppress(AntiphonError):
                await replicas[number].create_model_config(name=name, model="rehearsal", is_default=True)
                done += 1
        return done

    counts = await asyncio.gather(*(work(i) for i in range(5)))
    found = (await replicas[0].fresh()).model_configs
    assert sorted(item.name for item in found) == ["a", "b", *(f"own{i}" for i in range(5))]
    assert sum(counts) == len(found)
    assert sum(item.is_default for item in found) == 1


async def test_a_change_is_told_as_the_reference_says(store: Store) -> None:
    bus, told = MemoryBus(), []
    bus.subscribe(CHAT_CONFIG_EVENT_CHANNEL, lambda message: told.append(msgspec.json.decode(message or b"null")))
    configs = replica(store, bus)
    made = await configs.create_provider(name="acme", kind="rehearsal")
    await configs.change_provider(made.provider_id, name="b")
    config = await configs.create_model_config(name="fast", model="b:x")
    await configs.delete_model_config(config.config_id)
    await configs.set_prompt(OWNER, "Be brief.")
    await wait_until(lambda: len(told) == 5)
    nil = "00000000-0000-0000-0000-000000000000"
    assert told == [
        {"kind": "providers", "entity_id": nil},
        {"kind": "providers", "entity_id": nil},
        {"kind": "model_config", "entity_id": config.config_id},
        {"kind": "model_config", "entity_id": config.config_id},
        {"kind": "user_prompt", "entity_id": OWNER},
    ]


async def test_a_replica_that_was_told_uses_a_change_at_once(store: Store) -> None:
    bus = MemoryBus()
    writer = replica(store, bus)
    async with running(replica(store, bus, seed=1)) as reader:
        await wait_until(lambda: reader.current.version == 0)
        seen: list[int] = []

        def see(configuration: Configuration) -> None:
            seen.append(len(configuration.providers))

        reader.changed.subscribe(see)
        await writer.create_provider(name="acme", kind="rehearsal")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [item.name for item in (await reader.fresh()).providers] == ["acme"]
        await wait_until(lambda: seen == [1])
        await writer.set_prompt(OWNER, "one")
        assert (await reader.prompt(OWNER)).text == "one"
        await writer.set_prompt(OWNER, "two")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (await reader.prompt(OWNER)).text == "two"


async def test_a_replica_without_events_finds_a_change_by_polling(store: Store) -> None:
    default = ConfigTiming()
    assert default.poll_s + default.fresh_s / 2 < 2.0 > default.fresh_s
    writer = replica(store)
    async with running(replica(store, seed=1, timing=ConfigTiming(poll_s=0.05))) as reader:
        assert (await reader.prompt(OWNER)).text == ""
        await writer.create_provider(name="acme", kind="rehearsal")
        await writer.set_prompt(OWNER, "Be brief.")
        await wait_until(lambda: reader.current.version == 2)
        assert [item.name for item in reader.current.providers] == ["acme"]
        assert (await reader.prompt(OWNER)).text == "Be brief."


async def test_a_configuration_that_was_not_read_recently_is_read_before_its_use(store: Store) -> None:
    """Also without the polling task."""
    writer, reader = replica(store), replica(store, seed=1)
    stale = replica(store, seed=2, timing=ConfigTiming(fresh_s=0.0))
    assert (await stale.fresh()).providers == ()
    assert (await reader.fresh()).providers == ()
    await writer.create_provider(name="acme", kind="rehearsal")
    assert (await reader.fresh()).providers == ()
    assert len((await stale.fresh()).providers) == 1


@pytest.mark.parametrize("message", [None, b"garbage", b"{}", b'{"kind":"later","entity_id":"x"}'])
async def test_dropped_and_unreadable_messages_make_it_look(store: Store, message: bytes | None) -> None:
    writer, reader = replica(store), replica(store, seed=1)
    assert (await reader.prompt(OWNER)).text == ""
    await writer.set_prompt(OWNER, "Be brief.")
    reader._on_event(message)
    assert (await reader.prompt(OWNER)).text == "Be brief."


async def test_a_failing_store_is_reported_until_it_works(store: Store) -> None:
    failing = FailingStore(store)
    async with running(replica(failing, timing=ConfigTiming(poll_s=0.01))) as configs:
        await wait_until(lambda: configs.current.version == 0)
        failing.is_failing = True
        await wait_until(lambda: configs.error)
        failing.is_failing = False
        await wait_until(lambda: configs.error is None)


async def test_a_change_whose_answer_was_lost_is_found_and_not_made_twice(store: Store) -> None:
    for commits in (True, False):
        lossy = LossyStore(store, commits=commits)
        configs = Configs(store=lossy, bus=MemoryBus(), ids=SeededIds(int(commits)), secrets=box())
        made = await configs.create_provider(name=f"acme{commits:d}", kind="rehearsal")
        assert made in (await replica(store).fresh()).providers
        await configs.set_prompt(OWNER, f"prompt {commits}")
        assert (await replica(store).prompt(OWNER)).text == f"prompt {commits}"
    assert len((await replica(store).fresh()).providers) == 2


# --- prompts


async def test_a_prompt_is_kept_bounded_and_removed(store: Store) -> None:
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


def test_the_operator_may_name_hosts_beyond_the_public_ones() -> None:
    outbound = Outbound.make(["models.internal:8000", "[::1]", "10.0.0.7"])
    for url in ("http://models.internal:8000/v1", "http://[::1]:99/v1", "https://10.0.0.7", "http://10.0.0.7:1/v1"):
        outbound.check_url(url)
    for url in ("http://models.internal:8001/v1", "http://models.internal/v1", "https://10.0.0.8"):
        with pytest.raises(Invalid, match="--allow-outbound"):
            outbound.check_url(url)


class FailingStore(WrappedStore):
    """Cannot be asked while `is_failing`."""

    is_failing = False

    async def config_version(self) -> int:
        if self.is_failing:
            raise Unavailable("it is tried out")
        return await super().config_version()


class LossyStore(WrappedStore):
    """Loses the answer to every other write of configuration, which it has committed or not."""

    def __init__(self, inner: Store, *, commits: bool) -> None:
        super().__init__(inner)
        self._commits = commits
        self._writes = 0

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        self._writes += 1
        if self._writes % 2 == 0:
            return await super().write_config(rows, after_version=after_version)
        if self._commits:
            await super().write_config(rows, after_version=after_version)
        raise OutcomeUnknown
