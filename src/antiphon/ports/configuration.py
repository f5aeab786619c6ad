"""Configuration that all instances on a store share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antiphon.core.values import Value


class ConfigRow(Value):
    """A row of configuration with its kind and its id in that kind. `body` is opaque to the store; None deletes the
    row."""

    kind: str
    config_id: str
    body: bytes | None


class ConfigurationStore(Protocol):
    """Configuration rows under one version, and single settings. Every method raises `Unavailable` if the store
    cannot be read or written."""

    async def config_version(self) -> int:
        """The version of all configuration rows, which every write increments."""
        ...

    async def read_config(self, kind: str, config_id: str = "") -> tuple[tuple[ConfigRow, ...], int]:
        """Read configuration rows.

        Args:
            kind: The kind of the rows.
            config_id: The id of one row; empty: all rows of the kind.

        Returns:
            The rows in the order of their ids, and their version.
        """
        ...

    async def write_config(self, rows: Sequence[ConfigRow], *, after_version: int | None = None) -> int | None:
        """Create, replace or (without a body) delete rows, all or none.

        Args:
            rows: The rows; the same write can be repeated.
            after_version: The version on which the write is based; None: any.

        Returns:
            The new version. None if `after_version` is out of date: nothing was written, read and decide again.

        Raises:
            Unavailable: Nothing was written.
            OutcomeUnknown: It may have been written: repeat it.
        """
        ...

    async def read_setting(self, name: str) -> str:
        """The value of a setting; empty if it was never written."""
        ...

    async def write_setting(self, name: str, value: str) -> None:
        """Write the value of a setting."""
        ...
