"""Failures of PostgreSQL and of the connection to it: is a retry useful, and the server's text without secrets."""

from __future__ import annotations

import ssl

import asyncpg

from antiphon.errors import one_line

SENTENCE_MAX = 300
"""Maximum length of a failure's text, in characters."""

LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
)
"""The connection is lost: the server is stopping or starting, or was killed."""

_MISCONFIGURED = (
    asyncpg.ClientConfigurationError,
    asyncpg.UnsupportedClientFeatureError,
    asyncpg.UnsupportedServerFeatureError,
    ssl.SSLError,
    ValueError,
    TypeError,
)
_TEMPORARY = (
    *LOST,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalServerError,
    asyncpg.ReadOnlySQLTransactionError,
)
_POOLER_REFUSES = ("unsupported startup parameter", "no such database", "no such user", "bouncer config error")
"""Refusals of a pooler that are permanent. Its other protocol errors mean that its server is down."""

_NO_TLS = "rejected SSL upgrade"
"""asyncpg's text for a server without TLS; it has no exception class for it."""

_TEXTS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "there was no answer in time"),
    (asyncpg.ConnectionDoesNotExistError, "the connection was closed"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was reset"),
    (BrokenPipeError, "the connection was closed"),
    (OSError, "the network failed"),
)


def is_permanent(error: BaseException) -> bool:
    """Whether a retry would not help."""
    if isinstance(error, asyncpg.ProtocolViolationError):
        return str(error).startswith(_POOLER_REFUSES)
    if isinstance(error, _MISCONFIGURED) or (isinstance(error, ConnectionError) and _NO_TLS in str(error)):
        return True
    return isinstance(error, asyncpg.PostgresError) and not isinstance(error, _TEMPORARY)


def failure_text(error: BaseException, *secrets: str | None) -> str:
    """The failure's text on one line, with the server's error code; never the name of a class. `secrets` are
    masked."""
    if isinstance(error, asyncpg.PostgresError):
        message = f"{error.args[0] if error.args else 'the server gave no reason'}"
        text = f"{message} ({error.sqlstate})" if error.sqlstate else message
    elif _NO_TLS in str(error):
        text = "the server has no TLS, which sslmode asks for"
    else:
        text = getattr(error, "strerror", None) or str(error) or _default_text(error)
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return one_line(text, SENTENCE_MAX)


def _default_text(error: BaseException) -> str:
    return next((text for kind, text in _TEXTS if isinstance(error, kind)), "it failed and gave no reason")
