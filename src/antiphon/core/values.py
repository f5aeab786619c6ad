"""`Value`: the base of everything that is only its fields (facts, commands, state, events)."""

from __future__ import annotations

from typing import Any, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class ValueMeta(msgspec.StructMeta):
    """Makes frozen, keyword-only structs that leave out defaults, in every subclass (msgspec asks each class).

    A value is a tree: the garbage collector need not look at it. One that holds more than values says `gc=True`."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        settings = {"frozen": True, "kw_only": True, "omit_defaults": True, "gc": False} | config
        return super().__new__(cls, name, bases, namespace, **settings)


class Value(msgspec.Struct, metaclass=ValueMeta):
    """A frozen, keyword-only struct; JSON leaves out the fields that hold their default."""
