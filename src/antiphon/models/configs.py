"""Configuration: providers, model configurations and each owner's prompt, the same on every replica.

The store has one version of it, and a write succeeds only if the version is still the one that was read (optimistic
concurrency). Every change is published on the bus, and every replica polls the version each second: a change is in
use within two seconds, even if every hint is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import structlog
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from antiphon.core.draft import replace_surrogates
from antiphon.core.values import Value
from antiphon.errors import AntiphonError, Invalid, NotFound, PeerError, TooLarge, TooMany, Unavailable
from antiphon.models.configuration import MODEL_CONFIG, PROMPT, PROVIDER, Configuration, decoded, row_of
from antiphon.models.model_configs import ModelConfig, check_config_name, check_model, check_parameters
from antiphon.models.outbound import Outbound
from antiphon.models.prompts import CACHE_BYTES_MAX, PROMPT_BYTES_MAX, Prompt, PromptCache
from antiphon.models.providers import Provider, ProviderKind, check_name, read_kind
from antiphon.models.secret_box import SecretBox
from antiphon.options import ConfigTiming
from antiphon.ports import Bus, ConfigRow, Ids, OutcomeUnknown, Store
from antiphon.signal import Signal
from antiphon.wire.codec import NIL_UUID, decode, encode
from antiphon.wire.notify import CHAT_CONFIG_EVENT_CHANNEL, ChatConfigEvent, ChatConfigEventKind

WRITES_MAX = 20
"""Maximum number of tries of a change while concurrent changes come first."""


log = structlog.get_logger(__name__)

T = TypeVar("T")


class ConfigLimits(Value):
    """Limits of the configuration."""

    providers_max: int = 100
    """Maximum number of providers."""
    model_configs_max: int = 500
    """Maximum number of model configurations."""
    prompts_bytes_max: int = CACHE_BYTES_MAX
    """Approximate maximum size of all cached prompts, in bytes."""


Decide = Callable[[Configuration], tuple[list[ConfigRow], T]]
"""Returns the rows to write and the caller's result, or raises an error."""


class Configs:
    """`run` it as a task. `current` is the configuration as it was last read; `fresh` polls first if that was too
    long ago."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        ids: Ids,
        secrets: SecretBox | None = None,
        outbound: Outbound | None = None,
        timing: ConfigTiming = ConfigTiming(),  # noqa: B008 - a value
        limits: ConfigLimits = ConfigLimits(),  # noqa: B008 - a value
    ) -> None:
        self._store = store
        self._bus = bus
        self._ids = ids
        self._timing = timing
        self._limits = limits
        self.secrets = secrets or SecretBox()
        self.outbound = outbound or Outbound()
        self.current = Configuration()
        self.changed: Signal[Configuration] = Signal("configuration_changed")
        """Emitted when providers or model configurations changed."""
        self.error: str | None = None
        self._polled_at = float("-inf")
        self._event_count = 0
        self._prompts = PromptCache(limits.prompts_bytes_max)
        self._wake = asyncio.Event()
        self._unsubscribe = bus.subscribe(CHAT_CONFIG_EVENT_CHANNEL, self._on_event)

    def close(self) -> None:
        self._unsubscribe()

    # --- reading

    async def run(self) -> None:
        """Poll the version regularly, and at once after an event."""
        emitted = self.current
        while True:
            try:
                await self._poll()
                self.error = None
            except AntiphonError as error:
                self._fail(error)
            if emitted is not self.current:
                emitted = self.current
                self.changed.emit(emitted)
            is_shared = self._store.is_shared  # else only this instance changes it
            try:
                async with asyncio.timeout(self._timing.poll_s if is_shared else self._timing.poll_alone_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def fresh(self) -> Configuration:
        """The configuration, whose version is read now unless it was read recently. Raises `Unavailable`."""
        if asyncio.get_running_loop().time() - self._polled_at > self._timing.fresh_s:
            await self._poll()
        return self.current

    async def _poll(self) -> None:
        started_at, event_count = asyncio.get_running_loop().time(), self._event_count
        if await self._store.config_version() != self.current.version:
            await self._load()
        if event_count == self._event_count:  # else the change of an event may be later than this poll
            self._polled_at = started_at

    async def _load(self) -> Configuration:
        """Read everything. A newer configuration is never replaced by an older one."""
        configuration = await self._read()
        if configuration.version > self.current.version:
            self._prompts.clear()
            self.current = configuration
        return configuration

    async def _read(self) -> Configuration:
        while True:
            providers, version = await self._store.read_config(PROVIDER)
            configs, same_version = await self._store.read_config(MODEL_CONFIG)
            if version == same_version:
                return Configuration(
                    version=version,
                    providers=decoded(providers, Provider),
                    model_configs=decoded(configs, ModelConfig),
                )

    def _on_event(self, message: bytes | None) -> None:
        """Poll before the next use, whatever the event is, even if it cannot be decoded."""
        self._polled_at = float("-inf")
        self._event_count += 1
        self._wake.set()
        try:
            event = decode(message, ChatConfigEvent) if message is not None else None
        except PeerError:
            event = None
        if event is not None and event.kind is ChatConfigEventKind.USER_PROMPT:
            self._prompts.remove(str(event.entity_id))
        else:
            self._prompts.clear()

    def _fail(self, error: AntiphonError) -> None:
        if self.error is None:
            log.warning("config_read_failed", error=str(error))
        self.error = str(error)

    # --- changing

    async def _change(self, decide: Decide[T], event: ChatConfigEvent) -> T:
        """Decide on the current configuration, write if it has not changed meanwhile, and publish the change."""
        for _ in range(WRITES_MAX):
            before = await self._read()
            rows, result = decide(before)
            if await self._write(rows, before.version):
                self._publish(event)
                with contextlib.suppress(Unavailable):  # it is stored, and the next use polls
                    await self._load()
                return result
        raise Unavailable("the configuration is being changed concurrently; try again")

    async def _write(self, rows: list[ConfigRow], after_version: int) -> bool:
        try:
            return await self._store.write_config(rows, after_version=after_version) is not None
        except OutcomeUnknown as error:
            for row in rows:
                found, version = await self._store.read_config(row.kind, row.config_id)
                if version == after_version:
                    return False
                if (found[0].body if found else None) != row.body:
                    raise Unavailable(
                        "it is not known whether the change was stored; read it, then try again"
                    ) from error
            return True

    def _publish(self, event: ChatConfigEvent) -> None:
        self._polled_at = float("-inf")
        self._bus.publish_nowait(CHAT_CONFIG_EVENT_CHANNEL, encode(event))

    # --- providers

    async def create_provider(
        self, *, name: str, kind: str, base_url: str = "", secret: str = "", is_enabled: bool = True
    ) -> Provider:
        now = self._store.clock.now_us()
        provider = self._checked(
            Provider(
                provider_id=self._ids.uuid(),
                name=name,
                kind=read_kind(kind),
                base_url=base_url,
                is_enabled=is_enabled,
                created_at=now,
                updated_at=now,
            ),
            secret,
        )
        return await self._put_provider(lambda _: provider)

    async def change_provider(
        self, provider_id: str, *, secret: str | UnsetType | None = UNSET, **changes: Any
    ) -> Provider:
        """Change a provider.

        Args:
            provider_id: The provider.
            secret: The new secret; None or empty removes it. UNSET: it is unchanged, unless the kind or the address
                changes: a secret is bound to both, and is removed with them.
            changes: The new `name`, `kind`, `base_url` and `is_enabled`; UNSET: unchanged.

        Raises:
            NotFound, Invalid, Unavailable.
        """
        changes = {name: value for name, value in changes.items() if value is not UNSET}
        if "kind" in changes:
            changes["kind"] = read_kind(changes["kind"])

        def change(before: Configuration) -> Provider:
            stored = before.provider(provider_id)
            changed = replace(stored, **changes, updated_at=self._store.clock.now_us())
            provider = self._checked(changed, secret if isinstance(secret, str) else "")
            is_unchanged = secret is UNSET and provider.bound_to == stored.bound_to
            return replace(provider, secret=stored.secret) if is_unchanged else provider

        return await self._put_provider(change)

    async def delete_provider(self, provider_id: str) -> None:
        def decide(before: Configuration) -> tuple[list[ConfigRow], None]:
            before.provider(provider_id)
            return [ConfigRow(kind=PROVIDER, config_id=provider_id, body=None)], None

        await self._change(decide, _PROVIDERS_CHANGED)

    async def _put_provider(self, make: Callable[[Configuration], Provider]) -> Provider:
        def decide(before: Configuration) -> tuple[list[ConfigRow], Provider]:
            provider = make(before)
            others = [item for item in before.providers if item.provider_id != provider.provider_id]
            if any(item.name == provider.name for item in others):
                raise Invalid("name", "another provider has this name")
            if len(others) >= self._limits.providers_max:
                raise TooMany("providers", self._limits.providers_max)
            return [row_of(PROVIDER, provider.provider_id, provider)], provider

        return await self._change(decide, _PROVIDERS_CHANGED)

    def _checked(self, provider: Provider, secret: str) -> Provider:
        """The provider with its new secret, if there is one. Raises `Invalid`."""
        check_name(provider.name)
        base_url = provider.base_url.rstrip("/")
        if provider.kind is ProviderKind.REHEARSAL and (base_url or secret):
            raise Invalid("base_url" if base_url else "secret", "the rehearsal model needs none")
        if base_url:
            self.outbound.check_url(base_url)
        provider = replace(provider, base_url=base_url, secret="")
        return replace(provider, secret=self.secrets.protect(secret, provider.bound_to)) if secret else provider

    # --- model configurations

    async def create_model_config(
        self,
        *,
        name: str,
        model: str,
        parameters: dict[str, Any] | None = None,
        is_default: bool = False,
        is_enabled: bool = True,
    ) -> ModelConfig:
        now = self._store.clock.now_us()
        config = _checked_config(
            ModelConfig(
                config_id=self._ids.uuid(),
                name=name,
                model=model,
                parameters=parameters or {},
                is_default=is_default,
                is_enabled=is_enabled,
                created_at=now,
                updated_at=now,
            )
        )
        return await self._put_config(config.config_id, lambda _: config)

    async def change_model_config(self, config_id: str, **changes: Any) -> ModelConfig:
        """Change `name`, `model`, `parameters`, `is_default` and `is_enabled`; UNSET: unchanged."""
        changes = {name: value for name, value in changes.items() if value is not UNSET}

        def change(before: Configuration) -> ModelConfig:
            now = self._store.clock.now_us()
            return _checked_config(replace(before.model_config(config_id), **changes, updated_at=now))

        return await self._put_config(config_id, change)

    async def delete_model_config(self, config_id: str) -> None:
        def decide(before: Configuration) -> tuple[list[ConfigRow], None]:
            before.model_config(config_id)
            return [ConfigRow(kind=MODEL_CONFIG, config_id=config_id, body=None)], None

        await self._change(decide, _config_changed(config_id))

    async def _put_config(self, config_id: str, make: Callable[[Configuration], ModelConfig]) -> ModelConfig:
        """Write a model configuration. If it is the default, the previous default is changed in the same write."""

        def decide(before: Configuration) -> tuple[list[ConfigRow], ModelConfig]:
            config = make(before)
            others = [item for item in before.model_configs if item.config_id != config_id]
            if any(item.name == config.name for item in others):
                raise Invalid("name", "another model configuration has this name")
            if len(others) >= self._limits.model_configs_max:
                raise TooMany("model configurations", self._limits.model_configs_max)
            replaced = [replace(item, is_default=False) for item in others if item.is_default and config.is_default]
            return [row_of(MODEL_CONFIG, item.config_id, item) for item in (*replaced, config)], config

        return await self._change(decide, _config_changed(config_id))

    # --- prompts

    async def prompt(self, owner_id: str) -> Prompt:
        """The owner's prompt; an empty one if there is none."""
        await self.fresh()
        cached = self._prompts.get(owner_id)
        if cached is not None:
            return cached
        version = self._prompts.version
        rows, _ = await self._store.read_config(PROMPT, owner_id)
        prompt = msgspec.json.decode(rows[0].body or b"{}", type=Prompt) if rows else Prompt()
        if version == self._prompts.version:  # else it may have been read before a change
            self._prompts.put(owner_id, prompt)
        return prompt

    async def set_prompt(self, owner_id: str, text: str) -> Prompt:
        """Set the owner's prompt; an empty text removes it. Raises `TooLarge`."""
        text = replace_surrogates(text)
        if len(text.encode()) > PROMPT_BYTES_MAX:
            raise TooLarge("prompt (in bytes)", PROMPT_BYTES_MAX)
        prompt = Prompt(text=text, updated_at=self._store.clock.now_us()) if text else Prompt()
        row = ConfigRow(kind=PROMPT, config_id=owner_id, body=encode(prompt) if text else None)
        await self._put(row)
        self._prompts.remove(owner_id)
        self._publish(ChatConfigEvent(kind=ChatConfigEventKind.USER_PROMPT, entity_id=UUID(owner_id)))
        return prompt

    async def _put(self, row: ConfigRow) -> None:
        """Write a row, whatever was stored before. A repeated write has the same effect."""
        for _ in range(WRITES_MAX):
            try:
                await self._store.write_config((row,))
                return
            except OutcomeUnknown:
                continue
        raise Unavailable("it is not known whether the change was stored")


_PROVIDERS_CHANGED = ChatConfigEvent(kind=ChatConfigEventKind.PROVIDERS, entity_id=NIL_UUID)


def _config_changed(config_id: str) -> ChatConfigEvent:
    """The event of a change. Raises `NotFound` if the id is not a UUID."""
    try:
        return ChatConfigEvent(kind=ChatConfigEventKind.MODEL_CONFIG, entity_id=UUID(config_id))
    except ValueError:
        raise NotFound("model_config") from None


def _checked_config(config: ModelConfig) -> ModelConfig:
    return replace(
        config,
        name=check_config_name(config.name),
        model=check_model(config.model),
        parameters=check_parameters(config.parameters),
    )
