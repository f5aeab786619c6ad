"""Configuration: rows that all instances on a store share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.values import Value


class ConfigRow(Value):
    """A piece of configuration, by its kind and its id there: `body` is opaque to the store (None: there is none)."""

    kind: str
    config_id: str
    body: bytes | None


class ConfigurationStore(Protocol):
    """Configuration rows with a version, and single settings."""

    async def config_version(self) -> int:
        """How often configuration was written: as long as it stays the same, so does all of it."""
        ...

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        """All rows of a kind by their ids, or the one, and the version at which they are so."""
        ...

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        """Make, replace or (where they have no body) remove these rows, all or none: the version they are of.
        None, and nothing is written: `after_version` was given and is not the version any more. Read and decide
        again. Fails as `append` does; the same rows may be asked for again."""
        ...

    async def read_setting(self, name: str) -> str:
        """What was written under that name, empty if nothing was."""
        ...

    async def write_setting(self, name: str, value: str) -> None: ...
