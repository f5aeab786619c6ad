"""Configuration: providers, model configurations and each owner's prompt, the same on every replica.

It is written by whoever finds it unchanged since it was read (the store's one version), told to the others on the
bus, and looked at by each of them every second: a change is in use within two, also when every hint is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
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
from antiphon.models.providers import Provider, ProviderKind, check_name, read_kind
from antiphon.models.secret_box import SecretBox
from antiphon.ports import Bus, ConfigRow, Ids, OutcomeUnknown, Store
from antiphon.signal import Signal
from antiphon.wire.codec import NIL_UUID, decode, encode
from antiphon.wire.notify import CHAT_CONFIG_EVENT_CHANNEL, ChatConfigEvent, ChatConfigEventKind

POLL_S = 1.0
FRESH_S = 1.5
"""What was looked at so lately needs no look before it is used."""

WRITES_MAX = 20
"""So often a change is decided anew because another one came first."""

PROVIDERS_MAX = 100
MODEL_CONFIGS_MAX = 500
PROMPT_BYTES_MAX = 256 * 1024
PROMPTS_BYTES_MAX = 16 * 1024 * 1024
"""So much of prompts is remembered."""


log = structlog.get_logger(__name__)

T = TypeVar("T")


class Prompt(Value):
    """What an owner wants every model to be told first."""

    text: str = ""
    updated_at: int = 0


Decide = Callable[[Configuration], tuple[list[ConfigRow], T]]
"""Gives the rows to be written, and what the caller is answered; or refuses."""


class Configs:
    """`run` it as a task. `current` is what was known at the last look; `fresh` looks, if that was a while ago."""

    def __init__(
        self, *, store: Store, bus: Bus, ids: Ids, secrets: SecretBox | None = None, outbound: Outbound | None = None
    ) -> None:
        self._store = store
        self._bus = bus
        self._ids = ids
        self.secrets = secrets or SecretBox()
        self.outbound = outbound or Outbound()
        self.current = Configuration()
        self.changed: Signal[Configuration] = Signal("configuration_changed")
        """Emitted when providers or model configurations changed."""
        self.error: str | None = None
        self._looked_at = float("-inf")
        self._told = 0
        self._prompts: OrderedDict[str, Prompt] = OrderedDict()
        self._prompts_bytes = 0
        self._prompts_version = 0
        self._wake = asyncio.Event()
        self._unsubscribe = bus.subscribe(CHAT_CONFIG_EVENT_CHANNEL, self._on_event)

    def close(self) -> None:
        self._unsubscribe()

    # --- keeping up

    async def run(self) -> None:
        """Look every second, and at once when told."""
        told = self.current
        while True:
            try:
                await self._look()
                self.error = None
            except AntiphonError as error:
                self._fail(error)
            if told is not self.current:
                told = self.current
                self.changed.emit(told)
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def fresh(self) -> Configuration:
        """The configuration, looked at just now or a moment ago. Raises `Unavailable`."""
        if asyncio.get_running_loop().time() - self._looked_at > FRESH_S:
            await self._look()
        return self.current

    async def _look(self) -> None:
        began, told = asyncio.get_running_loop().time(), self._told
        if await self._store.config_version() != self.current.version:
            await self._load()
        if told == self._told:  # else this look may have been before what was told
            self._looked_at = began

    async def _load(self) -> Configuration:
        """Read it all. What was read later is not replaced by what was read before."""
        configuration = await self._read()
        if configuration.version > self.current.version:
            self._forget_prompts()
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
        """Whatever it says, look before the next use; a message that cannot be read says so, too."""
        self._looked_at = float("-inf")
        self._told += 1
        self._wake.set()
        try:
            event = decode(message, ChatConfigEvent) if message is not None else None
        except PeerError:
            event = None
        if event is not None and event.kind is ChatConfigEventKind.USER_PROMPT:
            self._forget_prompt(str(event.entity_id))
        else:
            self._forget_prompts()

    def _fail(self, error: AntiphonError) -> None:
        if self.error is None:
            log.warning("config_unread", error=str(error))
        self.error = str(error)

    # --- changing

    async def _change(self, decide: Decide[T], event: ChatConfigEvent) -> T:
        """Decide on what is there now, write it if it still is, and tell everybody."""
        for _ in range(WRITES_MAX):
            before = await self._read()
            rows, result = decide(before)
            if await self._write(rows, before.version):
                self._tell(event)
                with contextlib.suppress(Unavailable):  # it is kept; who uses it next looks
                    await self._load()
                return result
        raise Unavailable("the configuration is being changed by others all the time")

    async def _write(self, rows: list[ConfigRow], after_version: int) -> bool:
        try:
            return await self._store.write_config(rows, after_version=after_version) is not None
        except OutcomeUnknown as error:
            for row in rows:
                found, version = await self._store.read_config(row.kind, row.config_id)
                if version == after_version:
                    return False
                if (found[0].body if found else None) != row.body:
                    raise Unavailable("it is not known whether the change was kept; look, then try again") from error
            return True

    def _tell(self, event: ChatConfigEvent) -> None:
        self._looked_at = float("-inf")
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
        """Change what is given (`name, kind, base_url, is_enabled`); UNSET is not given. The secret goes with the
        kind and the address it was given for: with another one it is forgotten, unless a new one comes along."""
        changes = {name: value for name, value in changes.items() if value is not UNSET}
        if "kind" in changes:
            changes["kind"] = read_kind(changes["kind"])

        def change(before: Configuration) -> Provider:
            known = before.provider(provider_id)
            changed = replace(known, **changes, updated_at=self._store.clock.now_us())
            provider = self._checked(changed, secret if isinstance(secret, str) else "")
            is_kept = secret is UNSET and provider.bound_to == known.bound_to
            return replace(provider, secret=known.secret) if is_kept else provider

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
            if len(others) >= PROVIDERS_MAX:
                raise TooMany("providers", PROVIDERS_MAX)
            return [row_of(PROVIDER, provider.provider_id, provider)], provider

        return await self._change(decide, _PROVIDERS_CHANGED)

    def _checked(self, provider: Provider, secret: str) -> Provider:
        """The provider with its new secret, if that is one. Raises `Invalid`."""
        check_name(provider.name)
        base_url = provider.base_url.rstrip("/")
        if provider.kind is ProviderKind.REHEARSAL and (base_url or secret):
            raise Invalid("base_url" if base_url else "secret", "the rehearsal model needs none")
        if base_url:
            self.outbound.check_url(base_url)
        provider = replace(provider, base_url=base_url, secret="")
        return replace(provider, secret=self.secrets.keep(secret, provider.bound_to)) if secret else provider

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
        """Change what is given (`name, model, parameters, is_default, is_enabled`); UNSET is not given."""
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
        """Where it becomes the default, the one before it is none any more, in the same write."""

        def decide(before: Configuration) -> tuple[list[ConfigRow], ModelConfig]:
            config = make(before)
            others = [item for item in before.model_configs if item.config_id != config_id]
            if any(item.name == config.name for item in others):
                raise Invalid("name", "another model configuration has this name")
            if len(others) >= MODEL_CONFIGS_MAX:
                raise TooMany("model configurations", MODEL_CONFIGS_MAX)
            replaced = [replace(item, is_default=False) for item in others if item.is_default and config.is_default]
            return [row_of(MODEL_CONFIG, item.config_id, item) for item in (*replaced, config)], config

        return await self._change(decide, _config_changed(config_id))

    # --- prompts

    async def prompt(self, owner_id: str) -> Prompt:
        """The owner's prompt; an empty one where there is none."""
        await self.fresh()
        known = self._prompts.get(owner_id)
        if known is not None:
            self._prompts.move_to_end(owner_id)
            return known
        version = self._prompts_version
        rows, _ = await self._store.read_config(PROMPT, owner_id)
        prompt = msgspec.json.decode(rows[0].body or b"{}", type=Prompt) if rows else Prompt()
        if version == self._prompts_version:  # else it may be what was read before a change
            self._remember_prompt(owner_id, prompt)
        return prompt

    async def set_prompt(self, owner_id: str, text: str) -> Prompt:
        """An empty text is none."""
        text = replace_surrogates(text)
        if len(text.encode()) > PROMPT_BYTES_MAX:
            raise TooLarge("prompt (in bytes)", PROMPT_BYTES_MAX)
        prompt = Prompt(text=text, updated_at=self._store.clock.now_us()) if text else Prompt()
        row = ConfigRow(kind=PROMPT, config_id=owner_id, body=encode(prompt) if text else None)
        await self._put(row)
        self._forget_prompt(owner_id)
        self._tell(ChatConfigEvent(kind=ChatConfigEventKind.USER_PROMPT, entity_id=UUID(owner_id)))
        return prompt

    async def _put(self, row: ConfigRow) -> None:
        """Written whatever came before; the same once more says the same."""
        for _ in range(WRITES_MAX):
            try:
                await self._store.write_config((row,))
                return
            except OutcomeUnknown:
                continue
        raise Unavailable("it is not known whether the change was kept")

    def _remember_prompt(self, owner_id: str, prompt: Prompt) -> None:
        self._forget_prompt(owner_id)
        self._prompts[owner_id] = prompt
        self._prompts_bytes += _size(prompt)
        while self._prompts_bytes > PROMPTS_BYTES_MAX:
            self._prompts_bytes -= _size(self._prompts.popitem(last=False)[1])

    def _forget_prompt(self, owner_id: str) -> None:
        self._prompts_version += 1
        known = self._prompts.pop(owner_id, None)
        self._prompts_bytes -= _size(known) if known is not None else 0

    def _forget_prompts(self) -> None:
        self._prompts_version += 1
        self._prompts.clear()
        self._prompts_bytes = 0


_PROVIDERS_CHANGED = ChatConfigEvent(kind=ChatConfigEventKind.PROVIDERS, entity_id=NIL_UUID)


def _config_changed(config_id: str) -> ChatConfigEvent:
    """Raises `NotFound` for what is no id."""
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


def _size(prompt: Prompt) -> int:
    """About what it takes to remember one."""
    return 4 * len(prompt.text) + 500
