"""The requests on tokens, providers, model configurations and instances."""

from __future__ import annotations

from typing import Any

from antiphon.client import api_requests, shapes
from antiphon.client.asynchronous.request_group import AsyncRequestGroup


class AsyncAdministration(AsyncRequestGroup):
    """The part of `AsyncClient` for the admin. Without an admin's token every request raises `Forbidden`, except
    reading models, providers and model configurations."""

    # --- tokens

    async def create_token(self, owner: str, *, admin: bool = False) -> shapes.NewToken:
        """Create a token for an owner, and the owner if it does not exist. The secret is returned only once.

        Args:
            owner: the owner's name.
            admin: whether the owner is an admin.
        """
        return await self._connection.request(api_requests.create_token(owner, admin=admin))

    async def tokens(self) -> list[shapes.Token]:
        """All tokens, without their secrets."""
        found = await self._connection.request(api_requests.tokens())
        return found["tokens"]

    async def revoke_token(self, token_id: str) -> None:
        """Revoke a token: it is refused from now on, and its streams end. A second call does nothing."""
        await self._connection.request(api_requests.revoke_token(token_id))

    # --- providers

    async def models(self) -> shapes.ModelList:
        """The models that a chat may name, and the default one; for every owner."""
        return await self._connection.request(api_requests.models())

    async def check_provider(self, provider_id: str) -> shapes.ProviderCheck:
        """Ask a provider for the models that it offers. `error` says what is wrong with its address or secret.

        Raises:
            NotFound: there is no such provider.
        """
        return await self._connection.request(api_requests.check_provider(provider_id))

    async def providers(self) -> list[shapes.Provider]:
        """All providers, in the order in which they were added."""
        found = await self._connection.request(api_requests.providers())
        return found["providers"]

    async def create_provider(
        self, name: str, *, kind: str = "openai", base_url: str = "", secret: str = "", is_enabled: bool = True
    ) -> shapes.Provider:
        """Add a provider. Its models are named `<name>:<model>`.

        Args:
            name: the name, unique.
            kind: the kind of its API: openai or rehearsal.
            base_url: the address of its API; default: the kind's.
            secret: `env:NAME`, `file:PATH`, or the secret itself, which is stored sealed and never returned.
            is_enabled: whether its models may be called.

        Raises:
            Conflict: the name is in use.
            Invalid: a field is not allowed.
        """
        return await self._connection.request(
            api_requests.create_provider(
                name=name, kind=kind, base_url=base_url, secret=secret, is_enabled=is_enabled
            )
        )

    async def change_provider(
        self,
        provider_id: str,
        *,
        name: str | None = None,
        kind: str | None = None,
        base_url: str | None = None,
        secret: str | None = None,
        is_enabled: bool | None = None,
    ) -> shapes.Provider:
        """Change fields of a provider; None: unchanged. Another kind or base_url deletes the secret unless a new one
        is given; an empty secret deletes it. Raises as `create_provider`, and `NotFound`."""
        changes = {"name": name, "kind": kind, "base_url": base_url, "secret": secret, "is_enabled": is_enabled}
        return await self._connection.request(api_requests.change_provider(provider_id, **changes))

    async def delete_provider(self, provider_id: str) -> None:
        """Delete a provider. Running model calls continue; no new one starts."""
        await self._connection.request(api_requests.delete_provider(provider_id))

    # --- model configurations

    async def model_configs(self) -> list[shapes.ModelConfig]:
        """All model configurations, in the order in which they were added."""
        found = await self._connection.request(api_requests.model_configs())
        return found["model_configs"]

    async def create_model_config(
        self,
        name: str,
        model: str,
        *,
        parameters: dict[str, Any] | None = None,
        is_default: bool = False,
        is_enabled: bool = True,
    ) -> shapes.ModelConfig:
        """Add a model configuration.

        Args:
            name: the name by which chats choose it, unique.
            model: the model, `<provider>:<model>`.
            parameters: parameters of every model call, at most 16 KiB of JSON.
            is_default: use it for chats without a model.
            is_enabled: whether chats may use it.

        Raises:
            Conflict: the name is in use.
            Invalid: a field is not allowed.
        """
        return await self._connection.request(
            api_requests.create_model_config(
                name=name, model=model, parameters=parameters, is_default=is_default, is_enabled=is_enabled
            )
        )

    async def change_model_config(
        self,
        config_id: str,
        *,
        name: str | None = None,
        model: str | None = None,
        parameters: dict[str, Any] | None = None,
        is_default: bool | None = None,
        is_enabled: bool | None = None,
    ) -> shapes.ModelConfig:
        """Change fields of a model configuration; None: unchanged. `parameters` replace all previous ones. Raises as
        `create_model_config`, and `NotFound`."""
        changes = {
            "name": name,
            "model": model,
            "parameters": parameters,
            "is_default": is_default,
            "is_enabled": is_enabled,
        }
        return await self._connection.request(api_requests.change_model_config(config_id, **changes))

    async def delete_model_config(self, config_id: str) -> None:
        """Delete a model configuration. Turns of chats that use it fail until another model is chosen."""
        await self._connection.request(api_requests.delete_model_config(config_id))

    # --- instances

    async def instances(self) -> list[shapes.Instance]:
        """The instances on the server's machine, and the replicas on its store."""
        found = await self._connection.request(api_requests.instances())
        return found["instances"]
