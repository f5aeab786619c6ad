"""The parts that come with a store that several instances share."""

from __future__ import annotations

from antiphon.core.values import Value
from antiphon.ports import Link, Presence


class SharedStore(Value, gc=True):
    """The membership list of the store, and the link to the other instances on it."""

    presence: Presence
    link: Link
