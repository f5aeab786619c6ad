"""What a failure of PostgreSQL or of the way to it means, in the server's own words and without secrets."""

from __future__ import annotations

import ssl

import asyncpg

from antiphon.errors import one_line

SENTENCE_MAX = 300

LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
)
"""The connection is lost: the server stops, starts, or was killed."""

_MISCONFIGURED = (
    asyncpg.ClientConfigurationError,
    asyncpg.UnsupportedClientFeatureError,
    asyncpg.UnsupportedServerFeatureError,
    ssl.SSLError,
    ValueError,
    TypeError,
)
_PASSES = (
    *LOST,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalServerError,
    asyncpg.ReadOnlySQLTransactionError,
)
_POOLER_REFUSES = ("unsupported startup parameter", "no such database", "no such user", "bouncer config error")
"""A pooler's refusals that no other try changes. Its other protocol errors say that its server is away."""

_NO_TLS = "rejected SSL upgrade"
"""asyncpg's words for a server that has no TLS; it has no class for it."""

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
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
    return isinstance(error, asyncpg.PostgresError) and not isinstance(error, _PASSES)


def failure_text(error: BaseException, *secrets: str | None) -> str:
    """The failure's own words on one line, with the server's code for it; never a class's name."""
    if isinstance(error, asyncpg.PostgresError):
        said = f"{error.args[0] if error.args else 'the server gave no reason'}"
        words = f"{said} ({error.sqlstate})" if error.sqlstate else said
    elif _NO_TLS in str(error):
        words = "the server has no TLS, which sslmode asks for"
    else:
        words = getattr(error, "strerror", None) or str(error) or _without_words(error)
    for secret in secrets:
        if secret:
            words = words.replace(secret, "***")
    return one_line(words, SENTENCE_MAX)


def _without_words(error: BaseException) -> str:
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "it failed and gave no reason")
