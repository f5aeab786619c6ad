"""Models by name: a model configuration's, `<provider>:<model>`, or `rehearsal`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from antiphon.errors import Invalid
from antiphon.models.apis import APIS, EXISTING
from antiphon.models.configs import Configs
from antiphon.models.configuration import Configuration
from antiphon.models.configured import AliasedModel, ConfiguredModel, ProviderClient
from antiphon.models.providers import Provider, ProviderKind
from antiphon.models.rehearsal import RehearsalModel
from antiphon.models.secret_box import SecretMissing
from antiphon.models.transport import Transport
from antiphon.observe.background_tasks import BackgroundTasks
from antiphon.options import Limits
from antiphon.ports import Model

DEFAULT_LIMITS = Limits()
REHEARSAL = "rehearsal"

CACHED_MAX = 256
"""Maximum number of cached models (users choose the names). A provider's transport, which costs memory, exists
once."""


class Models:
    """The models of an instance, created at their first use. Close it: `await aclose()`."""

    def __init__(
        self, env: Mapping[str, str], limits: Limits = DEFAULT_LIMITS, *, configs: Configs | None = None
    ) -> None:
        self._env = env
        self._limits = limits
        self._configs = configs
        self._cached: OrderedDict[str, Model] = OrderedDict()
        self._clients: dict[str, ProviderClient] = {}
        self._retired: set[ProviderClient] = set()
        self._transports: dict[str, Transport] = {}
        """By kind of provider, for the models that need no configuration."""
        self._background = BackgroundTasks()
        if configs is not None:
            configs.changed.subscribe(self._on_changed)

    async def get(self, name: str) -> Model:
        """A model by its name: that of a model configuration, of a configured provider, or one that needs no
        configuration. Raises `Invalid` for an unknown or disabled one, and for a missing key, secret or package."""
        configuration = await self._configs.fresh() if self._configs is not None else Configuration()
        config = configuration.named_config(name)
        if config is None:
            return await self._of_provider(name, configuration)
        if not config.is_enabled:
            raise Invalid("model", f"{config.name!r} is switched off.")
        model = await self._of_provider(config.model, configuration)
        return AliasedModel(model, parameters=config.parameters) if config.parameters else model

    async def check_name(self, name: str) -> None:
        """Raises `Invalid` for a name that no model has. Whether it is enabled and has its secret or key can change,
        and is not checked here; no client is created."""
        configuration = await self._configs.fresh() if self._configs is not None else Configuration()
        config = configuration.named_config(name)
        provider, _, model = (config.model if config is not None else name).partition(":")
        if model and (provider in APIS or configuration.named_provider(provider) is not None):
            return
        if config is None and name != REHEARSAL:
            raise Invalid("model", f"there is no model {name[:80]!r}; what exists: {EXISTING}.")

    async def list_of_provider(self, provider_id: str) -> tuple[str, ...]:
        """The names of the models that a configured provider offers, from the provider itself.

        Raises:
            NotFound: There is no such provider.
            Invalid: It cannot be called: its secret is missing, or its address is not allowed.
            AttemptFailed: It does not answer, or refuses the secret.
        """
        assert self._configs is not None
        provider = (await self._configs.fresh()).provider(provider_id)
        if provider.kind is ProviderKind.REHEARSAL:
            return ()
        return await (await self._client_of(provider)).list_models()

    async def _of_provider(self, name: str, configuration: Configuration) -> Model:
        provider_name, _, model_name = name.partition(":")
        provider = configuration.named_provider(provider_name) if model_name else None
        if provider is None:
            return self._without_configuration(name)
        if not provider.is_enabled:
            raise Invalid("model", f"the provider {provider.name!r} is switched off.")
        if provider.kind is ProviderKind.REHEARSAL:
            return AliasedModel(RehearsalModel(), provider=provider.name, name=model_name, parameters={})
        return ConfiguredModel(await self._client_of(provider), model_name)

    async def _client_of(self, provider: Provider) -> ProviderClient:
        assert self._configs is not None, "a configured provider was configured somewhere"
        try:
            secret = self._configs.secrets.open(provider.secret, provider.bound_to) if provider.secret else ""
        except SecretMissing as error:
            raise Invalid("model", f"the provider {provider.name!r} cannot be called: {error}.") from error
        if not secret and not provider.base_url:
            raise Invalid("model", f"the provider {provider.name!r} has no secret; give it one.")
        client = self._clients.get(provider.provider_id)
        if client is None or not client.is_for(provider, secret):
            new_client = ProviderClient(provider, secret, outbound=self._configs.outbound, limits=self._limits)
            self._clients[provider.provider_id] = new_client
            if client is not None:
                await self._retire(client)
            return new_client
        return client

    def _on_changed(self, configuration: Configuration) -> None:
        """Close the connections to providers that were removed or changed."""
        current = {item.provider_id: item for item in configuration.providers if item.is_enabled}
        for provider_id, client in list(self._clients.items()):
            provider = current.get(provider_id)
            if provider is None or not client.is_for(provider, client.secret):
                del self._clients[provider_id]
                self._retired.add(client)
                self._background.start(self._retire(client))

    async def _retire(self, client: ProviderClient) -> None:
        await client.retire()
        self._retired = {item for item in {*self._retired, client} if item.is_open}

    def _without_configuration(self, name: str) -> Model:
        model = self._cached.get(name)
        if model is None:
            model = self._cached[name] = make_model(
                name, env=self._env, transport=self._shared_transport, limits=self._limits
            )
            if len(self._cached) > CACHED_MAX:
                self._cached.popitem(last=False)
        self._cached.move_to_end(name)
        return model

    async def aclose(self) -> None:
        self._cached.clear()
        for client in (*self._clients.values(), *self._retired):
            await client.close()
        self._clients.clear()
        self._retired.clear()
        for transport in self._transports.values():
            await transport.aclose()
        self._transports.clear()

    def _shared_transport(self, kind: str) -> Transport:
        if kind not in self._transports:
            self._transports[kind] = APIS[kind].open_transport_by(self._env)
        return self._transports[kind]


def make_model(
    name: str,
    *,
    env: Mapping[str, str],
    transport: Callable[[str], Transport] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Model:
    """Create a model, which its caller closes.

    Args:
        name: `rehearsal` or `<kind>:<model>`, of the kinds in `apis.APIS`.
        env: The key and the base URL are read from it. A server with a base URL may need no key.
        transport: Returns the connections that the models of a kind share. Default: the model has its own.
        limits: Timeouts and sizes.

    Raises:
        Invalid: An unknown name, a missing key, or an address or proxy that is not supported.
    """
    kind, _, model_name = name.partition(":")
    if name == REHEARSAL:
        return RehearsalModel()
    api = APIS.get(kind)
    if api is None or not model_name:
        raise Invalid("model", f"there is no model {name[:80]!r}; what exists: {EXISTING}.")
    api_key = env.get(api.key_variable) or ""
    if not api_key and not env.get(api.url_variable):
        keyless = f"(or {api.url_variable}, for a server that needs no key)"
        raise Invalid("model", f"{kind}:{model_name} needs {api.key_variable} {keyless}.")
    return api.model(
        model_name,
        api_key=api_key,
        transport=transport(kind) if transport is not None else api.open_transport_by(env),
        is_own_transport=transport is None,
        headers={header: env[name] for header, name in api.header_variables.items() if env.get(name)},
        model_first_byte_s=limits.model_first_byte_s,
        model_idle_s=limits.model_idle_s,
        calls_max=limits.calls,
    )
