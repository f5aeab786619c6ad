"""Ports for servers that tests stop and start again on the same port.

They lie below the ports that the kernel gives to outgoing connections (32768 and up on Linux), and each is reserved
by a lock for as long as the test process lives: while a server is down, no other process of the tests takes its port,
and no connection has it as its own end.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

PORTS = range(15_000, 32_000)

TRIES_MAX = 200
"""Maximum number of ports that are tried before it is an error."""

_reserved: set[int] = set()


def free_port() -> int:
    """A port on which no program listens, reserved for this process until it exits."""
    for port in random.sample(PORTS, TRIES_MAX):
        if port not in _reserved and _reserve(port) and is_free(port):
            return port
    raise AssertionError(f"of {TRIES_MAX} ports none is free")


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return True
    return False


def _reserve(port: int) -> bool:
    """Lock the byte of this number in a file that all processes of the tests share."""
    try:
        fcntl.lockf(_lock_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _reserved.add(port)
    return True


@functools.cache
def _lock_file() -> int:
    path = Path(tempfile.gettempdir()) / f"antiphon-test-ports-{os.getuid()}"
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
