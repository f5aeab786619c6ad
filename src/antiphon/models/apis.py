"""The APIs by which models are called: the class of each kind of provider, and its environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from antiphon.core.values import Value
from antiphon.models.anthropic import AnthropicModel
from antiphon.models.connecting import Connector, Origin, proxy_of
from antiphon.models.http_model import HttpModel
from antiphon.models.openai import OpenAIModel
from antiphon.models.outbound import Outbound
from antiphon.models.providers import ProviderKind
from antiphon.models.responses import ResponsesModel
from antiphon.models.transport import Transport


class ModelApi(Value):
    """How the models of one kind of provider are called."""

    model: type[HttpModel]
    key_variable: str
    """The environment variable of the key."""
    url_variable: str
    """The environment variable of the base URL."""
    header_variables: dict[str, str] = {}
    """Headers, and the environment variables of their values."""
    has_version_in_url: bool = False
    """Whether `/v1` is added to a base URL without a path, as the provider's own SDK does."""

    def origin(self, base_url: str) -> Origin:
        """The server of a base URL, by default the provider's own. Raises `Invalid`."""
        if self.has_version_in_url and base_url and not urlsplit(base_url).path.strip("/"):
            base_url = base_url.rstrip("/") + "/v1"
        return Origin.parse(base_url or self.model.default_base_url)

    def open_transport(self, base_url: str, *, outbound: Outbound | None = None) -> Transport:
        """Connections to a server whose address is checked by `outbound`. Raises `Invalid`."""
        return Transport(Connector(self.origin(base_url), outbound=outbound))

    def open_transport_by(self, env: Mapping[str, str]) -> Transport:
        """Connections to the server, and through the proxy, that `env` names. Raises `Invalid`."""
        origin = self.origin(env.get(self.url_variable, ""))
        return Transport(Connector(origin, proxy=proxy_of(origin, env)))


OPENAI_HEADERS = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
APIS: dict[str, ModelApi] = {
    ProviderKind.OPENAI: ModelApi(
        model=OpenAIModel,
        key_variable="OPENAI_API_KEY",
        url_variable="OPENAI_BASE_URL",
        header_variables=OPENAI_HEADERS,
    ),
    ProviderKind.OPENAI_RESPONSES: ModelApi(
        model=ResponsesModel,
        key_variable="OPENAI_API_KEY",
        url_variable="OPENAI_BASE_URL",
        header_variables=OPENAI_HEADERS,
    ),
    ProviderKind.ANTHROPIC: ModelApi(
        model=AnthropicModel,
        key_variable="ANTHROPIC_API_KEY",
        url_variable="ANTHROPIC_BASE_URL",
        has_version_in_url=True,
    ),
}
"""By kind of provider. Each is also the name of a provider that needs no configuration: `<kind>:<model>`."""
EXISTING = (
    f"`rehearsal`, {', '.join(f'`{kind}:<model>`' for kind in APIS)}, and what is configured (`antiphon config`)"
)
