"""`Value`: the base class of immutable records (facts, commands, state, events)."""

from __future__ import annotations

from typing import Any, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class ValueMeta(msgspec.StructMeta):
    """Makes every subclass a frozen, keyword-only struct that omits defaults (msgspec configures each class alone).

    A value contains only values, so it has no reference cycles and the garbage collector does not track it. A class
    whose fields refer to other objects sets `gc=True`.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        settings = {"frozen": True, "kw_only": True, "omit_defaults": True, "gc": False} | config
        return super().__new__(cls, name, bases, namespace, **settings)


class Value(msgspec.Struct, metaclass=ValueMeta):
    """A frozen, keyword-only struct. JSON omits the fields that have their default."""
