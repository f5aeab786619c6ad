"""A provider: the address at which its models are called, and the secret."""

from __future__ import annotations

import re
from enum import StrEnum

from antiphon.core.values import Value
from antiphon.errors import Invalid

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
BUILT_IN = "rehearsal"


class ProviderKind(StrEnum):
    """The provider's API. `openai` is chat completions, which many servers support; `openai-responses` is OpenAI's
    Responses API, and `anthropic` the Messages API."""

    OPENAI = "openai"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    REHEARSAL = "rehearsal"


class Provider(Value):
    """A provider; its models are named `<name>:<model>`. `secret` is protected by `SecretBox`. `base_url` is empty
    for the default server of its kind. Times are in microseconds."""

    provider_id: str
    name: str
    kind: ProviderKind
    base_url: str = ""
    secret: str = ""
    is_enabled: bool = True
    created_at: int = 0
    updated_at: int = 0

    @property
    def bound_to(self) -> str:
        """What its secret is bound to: with another kind or address it cannot be opened."""
        return f"{self.provider_id}\n{self.kind}\n{self.base_url}"


def read_kind(text: str) -> ProviderKind:
    try:
        return ProviderKind(text)
    except ValueError:
        known = "`openai` (any server of chat completions), `openai-responses`, `anthropic` or `rehearsal`"
        raise Invalid("kind", f"{known}, not {text[:40]!r}") from None


def check_name(name: str) -> str:
    if not NAME.fullmatch(name) or name == BUILT_IN:
        raise Invalid("name", "1 to 63 of a-z, 0-9, `.`, `_`, `-`, beginning with a letter or digit; not `rehearsal`")
    return name
