"""Failures of the database during a series of statements on one connection, as the store's own errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import asyncpg

from antiphon.errors import Unavailable
from antiphon.postgres.address import Address
from antiphon.postgres.failures import LOST, failure_text


@contextlib.contextmanager
def translate_errors(address: Address) -> Iterator[None]:
    """Raises `Unavailable` with the server's text."""
    try:
        yield
    except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable(f"the database does not work: {failure_text(error, address.password)}") from error
