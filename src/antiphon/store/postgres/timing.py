"""How long the PostgreSQL store waits, and how many appends share a statement."""

from __future__ import annotations

from antiphon.core.values import Value
from antiphon.postgres.connection import WAIT_S


class StoreTiming(Value):
    """How long the store waits for the database. All in seconds."""

    open_s: float = WAIT_S
    """How long opening the store waits for a database that does not answer."""
    wait_s: float = WAIT_S
    """How long a caller waits for a database that does not answer."""
    statement_s: float = 30.0
    """How long a statement may take. Beyond it the connection is closed, because the server may have failed."""
    check_s: float = 2.0
    """How long a readiness check waits for a connection."""
    append_retry_s: float = 12.0
    """How long an append is retried while its rows are locked."""
    clock_s: float = 30.0
    """Between two synchronizations with the database's clock."""


class AppendLimits(Value):
    """How many appends are written together."""

    statements_max: int = 2
    """Maximum number of shared statements under way. Appends that arrive meanwhile share the next one."""
    shared_max: int = 64
    """Maximum number of appends in one statement."""
    shared_bytes_max: int = 1024 * 1024
    """Maximum size of the appends in one statement, in bytes."""
    lock_timeouts: tuple[str, ...] = ("1s", "100ms", "10s")
    """How long a statement waits for locked rows, by its round (see `append.py`), as PostgreSQL writes it."""
    single_max: tuple[int, ...] = (0, 2, 4)
    """Maximum number of single appends under way, by their round. Connections remain for other statements."""
