"""One process has a data directory: the file lock, and the instance file by which others find it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from antiphon.core.values import Value
from antiphon.errors import Unavailable

LOCK_NAME = "antiphon.lock"
INSTANCE_NAME = "instance.json"
TOKEN_NAME = "token"


class DataDirectoryTaken(Unavailable):
    """Another process holds the data directory."""


class LockFile(Value):
    """The lock while it is held: who holds it, and where its directory is."""

    instance_id: str
    data: Path
    descriptor: int

    def write(self, holder: dict[str, Any]) -> None:
        """Say in the file who holds it and where they are reached."""
        content = msgspec.json.encode(holder)
        os.pwrite(self.descriptor, content, 0)
        os.ftruncate(self.descriptor, len(content))

    def is_in_place(self) -> bool:
        """Whether the directory is still where it was: not moved, removed or replaced."""
        try:
            found = os.stat(self.data / LOCK_NAME)
        except OSError:
            return False
        held = os.fstat(self.descriptor)
        return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)


class InstanceFile(Value):
    """`<data>/instance.json`: how to reach the primary of a data directory."""

    instance_id: str
    pid: int
    role: str
    version: str
    http_url: str
    token: str
    started_at: str
    pub_endpoint: str | None = None
    rpc_endpoint: str | None = None


@contextlib.contextmanager
def claim_data(data: Path, *, instance_id: str) -> Iterator[LockFile]:
    """Hold `<data>/antiphon.lock`. Raises `DataDirectoryTaken` saying who holds it.

    The lock goes with the process, however it dies; the descriptor is not inherited by children.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(data, 0o700)
    descriptor = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataDirectoryTaken(_taken_by(data, descriptor)) from error
        lock = LockFile(instance_id=instance_id, data=data, descriptor=descriptor)
        lock.write({"instance_id": instance_id, "pid": os.getpid()})
        yield lock
    finally:
        os.close(descriptor)


def is_held(data: Path) -> bool:
    """Whether any process holds the directory's lock."""
    try:
        descriptor = os.open(data / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _taken_by(data: Path, descriptor: int) -> str:
    try:
        holder = msgspec.json.decode(os.pread(descriptor, 4096, 0), type=dict[str, Any])
        who = f"the process {holder['pid']} (instance {holder['instance_id']})"
    except (msgspec.DecodeError, KeyError):
        who = "another process"
    url = read_instance_file(data)
    where = f" at {url.http_url}" if url else ""
    return f"{data} is in use by {who}{where}; stop it first, or choose another directory with --data"


def write_instance_file(data: Path, instance: InstanceFile) -> None:
    """By rename, so that a reader never sees half of it; readable by its owner only."""
    write_private(data / INSTANCE_NAME, _encode(instance))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, by rename: it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_instance_file(data: Path) -> InstanceFile | None:
    try:
        return msgspec.json.decode((data / INSTANCE_NAME).read_bytes(), type=InstanceFile)
    except (OSError, msgspec.DecodeError):
        return None


def remove_instance_file(data: Path, instance_id: str) -> None:
    found = read_instance_file(data)
    if found is not None and found.instance_id == instance_id:
        (data / INSTANCE_NAME).unlink(missing_ok=True)


def _encode(instance: InstanceFile) -> bytes:
    shown = {name: getattr(instance, name) for name in instance.__struct_fields__}
    return msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"
