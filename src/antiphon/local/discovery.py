"""Discovery of the instances on this machine: each announces itself in the user's runtime directory.

`<runtime dir>/antiphon/instances/<instance_id>.json` (0600) is an instance file with the data directory of the
instance. `announced` removes the files of killed processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

import msgspec

from antiphon.core.values import Value
from antiphon.errors import Unavailable
from antiphon.local.lock import UNREADABLE, read_value, write_private


class Announcement(Value):
    """How to reach an instance, and what it is."""

    instance_id: str
    pid: int
    role: str
    version: str
    project_id: str
    data: str
    started_at: str
    http_url: str = ""
    pub_endpoint: str = ""
    rpc_endpoint: str = ""
    keys: str = ""
    """The CURVE keys file of its sockets; empty: none."""
    apis: tuple[str, ...] = ()
    """The other protocols that it speaks over HTTP, by name."""


def runtime_dir() -> Path:
    """The user's directory for sockets and announcements: in XDG_RUNTIME_DIR if possible, else in /tmp. Raises
    `Unavailable` if that directory belongs to another user."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    is_usable = given is not None and os.access(given, os.W_OK | os.X_OK)  # after `su` it may be of another user
    folder = Path(given) if given and is_usable else Path(f"/tmp/antiphon-{os.getuid()}")
    if not is_usable:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise Unavailable(f"{folder} is not this user's own directory; set XDG_RUNTIME_DIR")
    own = folder / "antiphon"
    own.mkdir(exist_ok=True, mode=0o700)
    return own


def socket_dir(data: Path) -> Path:
    """The directory for the sockets of a data directory whose own path is too long for a socket."""
    return runtime_dir() / hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]


def announce(announcement: Announcement) -> None:
    """Publish that this instance runs. `withdraw` it when the instance stops."""
    shown = {name: getattr(announcement, name) for name in announcement.__struct_fields__}
    write_private(_folder() / f"{announcement.instance_id}.json", msgspec.json.encode(shown))


def withdraw(instance_id: str) -> None:
    """Remove the announcement, if there is one."""
    with contextlib.suppress(OSError, Unavailable):
        (_folder() / f"{instance_id}.json").unlink(missing_ok=True)


def announced() -> list[Announcement]:
    """The running instances of this user, the oldest first. Announcements of dead processes are removed."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        try:
            announcement = read_value(path, Announcement)
        except OSError:
            if not path.is_dir():
                continue  # for example, no descriptor is left; the instance may be alive
            announcement = None
        except UNREADABLE:
            announcement = None
        if announcement is None or not _is_alive(announcement.pid):
            with contextlib.suppress(OSError):
                path.unlink()
        else:
            found.append(announcement)
    return sorted(found, key=lambda item: item.started_at)


def _folder() -> Path:
    folder = runtime_dir() / "instances"
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0
