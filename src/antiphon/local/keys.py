"""CURVE keys for the instance protocol over TCP: an own key pair, and the public keys of peers that may connect.

A keys file (0600) is JSON: {public, secret, allowed: {public key: name}}; keys are Z85 text of 40 characters.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from antiphon.core.values import Value
from antiphon.errors import Invalid, NotFound, Unavailable
from antiphon.local.lock import UNREADABLE, write_private

FILE_BYTES_MAX = 1024 * 1024
"""Maximum size of a keys file."""
KEY_BYTES = 32
_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class Keys(Value):
    """`allowed` maps the public keys of peers to their names."""

    public: str
    secret: str
    allowed: dict[str, str] = {}

    def allows(self, public: str) -> bool:
        """Whether a peer with this key may connect. The own key may: only readers of the file have it."""
        return public == self.public or public in self.allowed


def make_keys() -> Keys:
    """A new key pair, with no other peers allowed yet."""
    import zmq

    while True:
        public, secret = zmq.curve_keypair()
        if public[:1].isalnum():  # a leading hyphen would be an option on a command line
            break
    return Keys(public=public.decode(), secret=secret.decode())


def create_keys(path: Path) -> Keys:
    """Create a keys file. Raises `Invalid` if the file exists."""
    if path.exists():
        raise Invalid("FILE", f"{path} exists already; its keys are not overwritten")
    keys = make_keys()
    write_keys(path, keys)
    return keys


def read_keys(path: Path) -> Keys:
    """Read a keys file. Raises `Invalid` if it is malformed or other users can read it, `Unavailable` without it."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise Unavailable(f"the keys file {path} cannot be read ({error.strerror})") from error
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Invalid("--keys", f"{path} can be read by other users; run `chmod 600 {path}`")
    try:
        keys = msgspec.json.decode(data, type=Keys)
    except UNREADABLE as error:
        raise Invalid("--keys", f"{path} is not a keys file; `antiphon keys create FILE` creates one") from error
    for key in (keys.public, keys.secret, *keys.allowed):
        check_key(key)
    return keys


def allow_key(path: Path, public: str, name: str) -> Keys:
    """Allow a peer to connect."""
    check_key(public)
    with _locked(path):
        found = read_keys(path)
        keys = replace(found, allowed=found.allowed | {public: name})
        write_keys(path, keys)
    return keys


def revoke_key(path: Path, public_or_name: str) -> Keys:
    """Disallow a peer. Its open connections stay open. Raises `NotFound`."""
    if not public_or_name:
        raise Invalid("key", "a public key, or the name it was allowed with")
    with _locked(path):
        found = read_keys(path)
        remaining = {key: name for key, name in found.allowed.items() if public_or_name not in (key, name)}
        if len(remaining) == len(found.allowed):
            raise NotFound("key")
        keys = replace(found, allowed=remaining)
        write_keys(path, keys)
    return keys


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Serialize changes: of two concurrent ones, one would be lost."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"the keys file {path} cannot be read ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_keys(path: Path, keys: Keys) -> None:
    shown = {"public": keys.public, "secret": keys.secret, "allowed": keys.allowed}
    write_private(path, msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n")


def check_key(text: str) -> None:
    """Raises `Invalid` if the text is not a CURVE key."""
    from zmq.utils import z85

    try:
        is_key = bool(_KEY.fullmatch(text)) and len(z85.decode(text.encode())) == KEY_BYTES
    except (ValueError, struct.error):
        is_key = False
    if not is_key:
        raise Invalid("key", "a public key is 40 characters, as `antiphon keys show FILE` prints it")
