"""The owners' prompts, and a bounded cache of them."""

from __future__ import annotations

from collections import OrderedDict

from antiphon.core.values import Value

PROMPT_BYTES_MAX = 256 * 1024
"""Maximum size of a prompt, in bytes."""
CACHE_BYTES_MAX = 16 * 1024 * 1024
"""Approximate maximum size of all cached prompts, in bytes."""


class Prompt(Value):
    """An owner's prompt, which precedes the system prompt of every model call."""

    text: str = ""
    updated_at: int = 0


class PromptCache:
    """The most recently used prompts by owner. `version` changes whenever a prompt is removed or replaced."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self.version = 0
        self._prompts: OrderedDict[str, Prompt] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._prompts)

    @property
    def size(self) -> int:
        """The approximate size of the cached prompts, in bytes."""
        return self._bytes

    def get(self, owner_id: str) -> Prompt | None:
        prompt = self._prompts.get(owner_id)
        if prompt is not None:
            self._prompts.move_to_end(owner_id)
        return prompt

    def put(self, owner_id: str, prompt: Prompt) -> None:
        self.remove(owner_id)
        self._prompts[owner_id] = prompt
        self._bytes += _size(prompt)
        while self._bytes > self._bytes_max:
            self._bytes -= _size(self._prompts.popitem(last=False)[1])

    def remove(self, owner_id: str) -> None:
        self.version += 1
        prompt = self._prompts.pop(owner_id, None)
        self._bytes -= _size(prompt) if prompt is not None else 0

    def clear(self) -> None:
        self.version += 1
        self._prompts.clear()
        self._bytes = 0


def _size(prompt: Prompt) -> int:
    """The approximate memory of a cached prompt, in bytes."""
    return 4 * len(prompt.text) + 500
