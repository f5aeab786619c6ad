"""Models by name: `rehearsal` or `<provider>:<model>`."""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.errors import Invalid
from antiphon.ports import Model

EXISTING = "`rehearsal` and `openai:<model>`"


def make_model(name: str, *, env: Mapping[str, str]) -> Model:
    """The model of that name, to be closed by whoever made it.

    `openai:<model>` takes OPENAI_API_KEY and OPENAI_BASE_URL from `env`; a server named by a base URL may do
    without a key. Raises `Invalid` for an unknown name or a missing key or package.
    """
    provider, _, model_name = name.partition(":")
    match provider, model_name:
        case "rehearsal", "" if name == "rehearsal":
            return _make_rehearsal()
        case "openai", model_name if model_name:
            return _make_openai(model_name, env)
    raise Invalid("model", f"there is no model {name[:80]!r}; what exists: {EXISTING}.")


# The imports wait until a model is wanted: an SDK takes half a second to import.


def _make_rehearsal() -> Model:
    from antiphon.worker.models.rehearsal import RehearsalModel

    return RehearsalModel()


def _make_openai(model_name: str, env: Mapping[str, str]) -> Model:
    from antiphon.worker.models.openai import OpenAIModel

    api_key, base_url = env.get("OPENAI_API_KEY") or None, env.get("OPENAI_BASE_URL") or None
    if api_key is None and base_url is None:
        raise Invalid(
            "model", f"openai:{model_name} needs OPENAI_API_KEY (or OPENAI_BASE_URL, for a server that wants no key)."
        )
    return OpenAIModel(model_name, api_key=api_key, base_url=base_url)
