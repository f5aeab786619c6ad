"""File descriptors: the limit of this process, and errors when none is left."""

from __future__ import annotations

import contextlib
import errno
import resource

import structlog

ENOUGH = 4096
"""Below this limit a warning is logged at the start."""
CONNECTIONS_MAX = 20_000
"""Maximum number of connections of a server, however many descriptors there are: each may have a small body that is
not counted. It is above the maximum number of watchers."""
RESERVE = 256
"""Reserved for the store, model calls, other instances and the instance protocol's sockets; half of a small limit."""

log = structlog.get_logger(__name__)


def raise_limit() -> int:
    """Raise the soft limit to the hard one; the new limit. Logs a warning if it is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # the limit of macOS is lower than the reported one
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit = current_limit()
    if limit < ENOUGH:
        log.warning(
            "descriptor_limit_low",
            limit=limit,
            connections_max=connections_max(),
            note=f"raise the hard limit to {ENOUGH} or more (ulimit -Hn, LimitNOFILE= of systemd)",
        )
    return limit


def current_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def connections_max(*, descriptors_each: int = 1, watchers_max: int = 0) -> int:
    """Maximum number of connections of a server, each of which needs `descriptors_each`. Options that allow more
    watchers raise CONNECTIONS_MAX to twice their number."""
    limit = current_limit()
    return min(max(CONNECTIONS_MAX, 2 * watchers_max), max(1, (limit - min(RESERVE, limit // 2)) // descriptors_each))


def is_out_of_descriptors(error: BaseException | None) -> bool:
    """Whether an error or one of its causes says that this process or machine has no descriptor left."""
    pending, seen = [error], set()
    while pending:
        error = pending.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            return True
        pending += (error.__cause__, error.__context__)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
    return False
