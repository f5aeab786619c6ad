"""Models by name: `rehearsal` or `<provider>:<model>`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from antiphon.config import Limits
from antiphon.errors import Invalid
from antiphon.ports import Model

if TYPE_CHECKING:
    import openai

DEFAULT_LIMITS = Limits()
EXISTING = "`rehearsal` and `openai:<model>`"

KEPT_MAX = 256
"""So many models are kept by name (people choose the names); what costs memory, a provider's client, is made once."""


class Models:
    """The models of an instance, made when asked for. Close it: `await aclose()`."""

    def __init__(self, env: Mapping[str, str], limits: Limits = DEFAULT_LIMITS) -> None:
        self._env = env
        self._limits = limits
        self._kept: OrderedDict[str, Model] = OrderedDict()
        self._openai: openai.AsyncOpenAI | None = None

    def get(self, name: str) -> Model:
        """The model of that name. Raises `Invalid` for an unknown name or a missing key or package."""
        model = self._kept.get(name)
        if model is None:
            model = self._kept[name] = make_model(
                name, env=self._env, openai_client=self._client, limits=self._limits
            )
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return model

    async def aclose(self) -> None:
        self._kept.clear()
        if self._openai is not None:
            await self._openai.close()

    def _client(self, make: Callable[[], openai.AsyncOpenAI]) -> openai.AsyncOpenAI:
        if self._openai is None:
            self._openai = make()
        return self._openai


Shared = Callable[[Callable[[], "openai.AsyncOpenAI"]], "openai.AsyncOpenAI"]
"""Gives the client that all models of a provider share, made by the function it is given."""


def make_model(
    name: str, *, env: Mapping[str, str], openai_client: Shared | None = None, limits: Limits = DEFAULT_LIMITS
) -> Model:
    """The model of that name, to be closed by whoever made it.

    `openai:<model>` takes OPENAI_API_KEY and OPENAI_BASE_URL from `env`; a server named by a base URL may do
    without a key. Raises `Invalid` for an unknown name or a missing key or package.
    """
    provider, _, model_name = name.partition(":")
    match provider, model_name:
        case "rehearsal", "" if name == "rehearsal":
            return _make_rehearsal()
        case "openai", model_name if model_name:
            return _make_openai(model_name, env, openai_client, limits)
    raise Invalid("model", f"there is no model {name[:80]!r}; what exists: {EXISTING}.")


# The imports wait until a model is wanted: an SDK takes half a second to import.


def _make_rehearsal() -> Model:
    from antiphon.worker.models.rehearsal import RehearsalModel

    return RehearsalModel()


def _make_openai(model_name: str, env: Mapping[str, str], shared: Shared | None, limits: Limits) -> Model:
    from antiphon.worker.models.openai import OpenAIModel, make_client

    api_key, base_url = env.get("OPENAI_API_KEY") or None, env.get("OPENAI_BASE_URL") or None
    if api_key is None and base_url is None:
        raise Invalid(
            "model", f"openai:{model_name} needs OPENAI_API_KEY (or OPENAI_BASE_URL, for a server that wants no key)."
        )
    client = make_client(api_key, base_url) if shared is None else shared(lambda: make_client(api_key, base_url))
    return OpenAIModel(
        model_name,
        client=client,
        is_own_client=shared is None,
        model_first_byte_s=limits.model_first_byte_s,
        model_idle_s=limits.model_idle_s,
    )
