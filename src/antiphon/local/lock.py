"""The lock of a data directory, held by one process, and the instance file with that process's addresses."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from antiphon.core.values import Value
from antiphon.errors import Unavailable

LOCK_NAME = "antiphon.lock"
INSTANCE_NAME = "instance.json"
TOKEN_NAME = "token"
FILE_BYTES_MAX = 64 * 1024
"""Maximum number of bytes that are read of such a file."""
UNREADABLE = (OSError, ValueError, RecursionError, msgspec.DecodeError)
"""The errors of reading such a file, whatever its content is."""

V = TypeVar("V")


class DataDirectoryTaken(Unavailable):
    """Another process holds the data directory."""


class LockFile(Value):
    """A held lock: its holder, and its directory."""

    instance_id: str
    data: Path
    descriptor: int
    directory: int

    def write(self, holder: dict[str, Any]) -> None:
        """Write the holder and its addresses to the lock file."""
        content = msgspec.json.encode(holder)
        os.pwrite(self.descriptor, content, 0)
        os.ftruncate(self.descriptor, len(content))

    def release(self) -> None:
        """Release the lock. A second call does nothing."""
        for descriptor in (self.descriptor, self.directory):
            if descriptor in _held:
                _held.discard(descriptor)
                os.close(descriptor)

    def is_in_place(self) -> bool:
        """Whether the directory is unchanged: not moved, removed or replaced."""
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
    keys: str | None = None
    """The CURVE keys file of its sockets, if any."""


@contextlib.contextmanager
def claim_data(data: Path, *, instance_id: str) -> Iterator[LockFile]:
    """Hold `<data>/antiphon.lock`; the file and its directory are created if missing. Raises `DataDirectoryTaken`,
    which names the holder."""
    make_data(data)
    lock = claim_unless_held(data, instance_id=instance_id)
    if lock is None:
        raise DataDirectoryTaken(_taken_by(data))
    try:
        yield lock
    finally:
        lock.release()


def check_free(data: Path) -> None:
    """Raises `DataDirectoryTaken`, which names the holder, while a process holds the lock."""
    if is_held(data):
        raise DataDirectoryTaken(_taken_by(data))


def check_no_replica(data: Path) -> None:
    """Raises `DataDirectoryTaken` while a replica holds the lock: its chats are in another store, so a standby would
    show none of them after a takeover."""
    primary = read_primary(data)
    if primary is not None and primary.role == "replica":
        raise DataDirectoryTaken(
            f"{data} is the directory of a replica (the process {primary.pid} at {primary.http_url}), whose chats "
            "are in its --store; give the same --store to run another replica, or another --data"
        )


def make_data(data: Path) -> None:
    """Create the directory, for its owner only."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(data, 0o700)


def claim_unless_held(data: Path, *, instance_id: str) -> LockFile | None:
    """As `try_claim`, but a check by `is_held`, which holds the lock for a moment, does not count as a holder."""
    while (lock := try_claim(data, instance_id=instance_id)) is None:
        if is_held(data):
            return None
    return lock


def try_claim(data: Path, *, instance_id: str, may_make: bool = True) -> LockFile | None:
    """Try to claim the lock of an existing directory.

    The lock is on the file and on its directory, so that no second one can be claimed after the file is removed. The
    kernel releases it when the process dies: programs that the process starts do not inherit the descriptors, and
    forked children close their copies.

    Args:
        data: The data directory.
        instance_id: The holder, written to the lock file.
        may_make: Create the lock file if it is missing. Otherwise a missing file is an error, because the directory
            was replaced.

    Returns:
        The lock; None while another process holds it.

    Raises:
        OSError: The directory or its lock file cannot be opened.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if may_make else 0)
    descriptors = [os.open(data / LOCK_NAME, flags, 0o600)]
    lock = None
    try:
        descriptors.append(os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for descriptor in descriptors:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        claimed = LockFile(instance_id=instance_id, data=data, descriptor=descriptors[0], directory=descriptors[1])
        if claimed.is_in_place():  # otherwise the directory was replaced in the meantime
            claimed.write({"instance_id": instance_id, "pid": os.getpid()})
            lock = claimed
            _held.update(descriptors)
    except BlockingIOError:
        return None
    finally:
        if lock is None:
            for descriptor in descriptors:
                os.close(descriptor)
    return lock


_held: set[int] = set()
"""The descriptors of the locks that this process holds."""


def _close_copies() -> None:
    """A forked child would keep its parent's locks beyond the parent's death."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_copies)


def is_held(data: Path) -> bool:
    """Whether a process holds the lock of the directory, even if the lock file was removed."""
    return _is_locked(data / LOCK_NAME) or _is_locked(data)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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


class Holder(Value):
    """The holder of a data directory, as its lock file says."""

    instance_id: str
    pid: int


def read_holder(data: Path) -> Holder | None:
    """The process that holds the lock, or held it last."""
    try:
        with open(data / LOCK_NAME, "rb") as file:
            return msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Holder)
    except UNREADABLE:
        return None


def read_primary(data: Path) -> InstanceFile | None:
    """The addresses of the holder of the lock; None until it is ready."""
    holder, found = read_holder(data), read_instance_file(data)
    if holder is None or found is None or found.instance_id != holder.instance_id:
        return None
    return found


def _taken_by(data: Path) -> str:
    holder = read_holder(data)
    name = f"the process {holder.pid} (instance {holder.instance_id})" if holder else "another process"
    url = read_instance_file(data)
    where = f" at {url.http_url}" if url else ""
    return f"{data} is in use by {name}{where}; stop it first, or choose another directory with --data"


def write_instance_file(data: Path, instance: InstanceFile) -> None:
    """Write the instance file by rename, so that readers never see a part of it; only its owner may read it."""
    write_private(data / INSTANCE_NAME, _encode(instance))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, by rename: readers see all of it or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_instance_file(data: Path) -> InstanceFile | None:
    try:
        return read_value(data / INSTANCE_NAME, InstanceFile)
    except UNREADABLE:
        return None


def read_value(path: Path, type: type[V]) -> V:  # noqa: A002
    """The JSON in a small file. Raises one of UNREADABLE."""
    with open(path, "rb") as file:
        return msgspec.json.decode(file.read(FILE_BYTES_MAX), type=type)


def remove_instance_file(data: Path, instance_id: str) -> None:
    found = read_instance_file(data)
    if found is not None and found.instance_id == instance_id:
        (data / INSTANCE_NAME).unlink(missing_ok=True)


def _encode(instance: InstanceFile) -> bytes:
    shown = {name: getattr(instance, name) for name in instance.__struct_fields__}
    return msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"
