"""The bodies of the probes."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from antiphon.core.values import Value


class HealthAnswer(Value):
    status: str
    instance_id: str
    role: str


class ReadyAnswer(Value):
    """`warnings` name what is as it was asked for, though not safe: `bus_without_keys`, `bus_without_credentials`.
    `slowed` names what does not work and makes all only slower: `hints`, `relay`."""

    status: str
    warnings: list[str] | UnsetType = UNSET
    slowed: list[str] | UnsetType = UNSET
