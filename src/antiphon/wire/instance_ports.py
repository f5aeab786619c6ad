"""The TCP ports of an instance, derived from its project directory."""

from __future__ import annotations

PORT_FIRST = 40_000
PORT_COUNT = 20_000
"""The range of the default TCP ports: the first one, and their number."""


def default_ports(project_dir: str) -> tuple[int, int]:
    """The TCP ports (events, calls) of a project directory, given as an absolute path."""
    port = PORT_FIRST + _fnv32a(project_dir.encode(errors="surrogateescape")) % PORT_COUNT
    return port, port + 1


def _fnv32a(data: bytes) -> int:
    """The 32-bit FNV-1a hash."""
    digest = 0x811C9DC5
    for byte in data:
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return digest
