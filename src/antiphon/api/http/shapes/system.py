"""The bodies of the probes."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from antiphon.core.values import Value


class HealthAnswer(Value):
    status: str
    instance_id: str
    role: str


class ReadyAnswer(Value):
    """`warnings` names options that are not safe: `bus_without_keys`, `bus_without_credentials`. `slowed` names parts
    that do not work and only make everything slower: `hints`, `relay`, `mcp`."""

    status: str
    warnings: list[str] | UnsetType = UNSET
    slowed: list[str] | UnsetType = UNSET
