"""Secrets of providers: stored as a reference, or encrypted with a key from outside the database; never returned.

A reference is `env:NAME` or `file:PATH`, and is resolved on the machine that makes the call. Any other secret is
encrypted (sealed, AES-256-GCM) with its provider and address as associated data: in another provider's row, or with
another address, it cannot be opened. Without a key, one is created in the user's folder of configuration
(`user_key.py`) if the data is on this machine alone; else secrets are refused.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from antiphon.errors import Invalid
from antiphon.models.user_key import UserKeyFile
from antiphon.options import Options

KEY_VARIABLE = "ANTIPHON_SECRET_KEY"
KEY_BYTES = 32
NONCE_BYTES = 12
SECRET_MAX = 8 * 1024
"""Maximum length of a secret, in characters."""
SECRETS_DIR = "/run/secrets"
"""The directory in which containers find their secrets."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OURS = "ANTIPHON_"
_NO_KEY = (
    "there is no key to seal it with: start with --secret-key-file (`antiphon config keygen FILE` makes one) or "
    f"{KEY_VARIABLE}, or give a reference, env:NAME or file:PATH"
)


class SecretMissing(Exception):
    """The secret is not available here. The text contains neither the secret nor its location."""


def secrets_of(options: Options, env: Mapping[str, str]) -> SecretBox:
    """The secrets of an instance. Replicas on a shared store need the same key, so none is created there."""
    user_key = None if options.store else UserKeyFile.of(env)
    return SecretBox.make(options.secret_key_file, env, options.secrets_dir, user_key)


def make_key() -> str:
    """A new key, in the form for a file or a variable."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


class SecretBox:
    """`protect` returns the stored form of a secret, `open` the secret of a stored form. The first key seals; every
    key opens."""

    def __init__(
        self,
        keys: Sequence[bytes] = (),
        *,
        env: Mapping[str, str] | None = None,
        secrets_dir: str = "",
        user_key: UserKeyFile | None = None,
    ) -> None:
        self._keys = {_key_id(key): key for key in keys}
        self._user_key = user_key
        self._env = env or {}
        self._dir = Path(secrets_dir or SECRETS_DIR)

    @staticmethod
    def make(
        key_file: str, env: Mapping[str, str], secrets_dir: str = "", user_key: UserKeyFile | None = None
    ) -> SecretBox:
        """A box with the keys of the file, else of the environment: one per line, the newest first. With neither, it
        uses `user_key`. Raises `Invalid`."""
        text, source = env.get(KEY_VARIABLE, ""), KEY_VARIABLE
        if key_file:
            source = "--secret-key-file"
            try:
                text = Path(key_file).read_text()
                is_readable_by_all = bool(Path(key_file).stat().st_mode & 0o007)
            except (OSError, UnicodeDecodeError) as error:
                raise Invalid(source, f"{key_file} cannot be read") from error
            if is_readable_by_all:
                raise Invalid(source, f"{key_file} can be read by every user; `chmod o= {key_file}`")
        keys = [_read_key(line, source) for line in re.split(r"[\s,]+", text) if line]
        if key_file and not keys:
            raise Invalid(source, f"{key_file} holds no key: make one with `antiphon config keygen FILE`")
        return SecretBox(keys, env=env, secrets_dir=secrets_dir, user_key=user_key)

    def protect(self, secret: str, bound_to: str) -> str:
        """The stored form of a secret or a reference. Raises `Invalid`."""
        kind, colon, rest = secret.partition(":")
        if colon and kind == "env":
            if not _VARIABLE.fullmatch(rest) or rest.upper().startswith(_OURS):
                raise Invalid("secret", f"env:NAME names a variable, and none of {_OURS}…")
            return secret
        if colon and kind == "file":
            self._check_path(rest)
            return secret
        _check_secret(secret)
        if not self._keys:
            self._create_user_key()
        return self._seal(secret, bound_to)

    def open(self, stored: str, bound_to: str) -> str:
        """The secret of a stored form. Raises `SecretMissing`."""
        kind, _, rest = stored.partition(":")
        match kind:
            case "env":
                secret = self._env.get(rest, "").strip()
                if not secret:
                    raise SecretMissing("the variable its secret is in is not set here")
            case "file":
                secret = self._read_file(rest)
            case "sealed":
                secret = self._unseal(rest, bound_to)
            case _:
                raise SecretMissing("its secret is stored in a form that this version cannot read")
        try:
            _check_secret(secret)
        except Invalid as error:
            raise SecretMissing("its secret is invalid: it must be one line of printable ASCII") from error
        return secret

    def _create_user_key(self) -> None:
        if self._user_key is None:
            raise Invalid("secret", _NO_KEY)
        try:
            self._add_keys(self._user_key.read() or self._user_key.create(make_key()))
        except OSError as error:
            raise Invalid("secret", f"{self._user_key.path} cannot be written; {_NO_KEY}") from error
        if not self._keys:
            raise Invalid("secret", f"{self._user_key.path} can be read by other users, or holds no key; {_NO_KEY}")

    def _add_keys(self, text: str) -> None:
        for line in text.split():
            key = _read_key(line, "secret")
            self._keys[_key_id(key)] = key

    def _key(self, key_id: str) -> bytes | None:
        """A key by its id; that of the user may have been created since by another process."""
        if key_id not in self._keys and self._user_key is not None:
            with contextlib.suppress(Invalid):
                self._add_keys(self._user_key.read())
        return self._keys.get(key_id)

    def _seal(self, secret: str, bound_to: str) -> str:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # slow to import

        key_id, key = next(iter(self._keys.items()))
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, secret.encode(), bound_to.encode())
        return f"sealed:{key_id}:{base64.b64encode(sealed).decode()}"

    def _unseal(self, text: str, bound_to: str) -> str:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key_id, _, body = text.partition(":")
        key = self._key(key_id)
        if key is None:
            raise SecretMissing(f"its secret was sealed with key {key_id}, which this instance was not given")
        try:
            sealed = base64.b64decode(body, validate=True)
            opened = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to.encode())
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise SecretMissing("its secret is damaged, or was made for another address; set it again") from error
        return opened.decode()

    def _check_path(self, text: str) -> None:
        path = Path(text)
        if not path.is_absolute() or not _is_inside(path.resolve(), self._dir.resolve()) or not text.isprintable():
            raise Invalid("secret", "file:PATH names a file in the directory of secrets (--secrets-dir)")

    def _read_file(self, text: str) -> str:
        """The text of a small regular file in the directory; links are resolved first."""
        path = Path(text).resolve()
        if not _is_inside(path, self._dir.resolve()):
            raise SecretMissing("the file its secret is in is not in the directory of secrets (--secrets-dir)")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SecretMissing("the file its secret is in is not a file")
                data = os.read(descriptor, SECRET_MAX + 2)
            finally:
                os.close(descriptor)
            return data.decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SecretMissing("the file its secret is in cannot be read here") from error


def reference_of(stored: str) -> str:
    """The reference, which is not secret; empty if the secret itself is stored."""
    return stored if stored.startswith(("env:", "file:")) else ""


def _check_secret(secret: str) -> None:
    """Check a secret, which is sent in a header. Raises `Invalid`, without the text."""
    if not 0 < len(secret) <= SECRET_MAX or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise Invalid("secret", f"one line of 1 to {SECRET_MAX} printable ASCII characters, without spaces")


def _is_inside(path: Path, directory: Path) -> bool:
    return path != directory and path.is_relative_to(directory)


def _key_id(key: bytes) -> str:
    """The id of a key, which is stored with the secrets that it sealed."""
    return hashlib.sha256(b"antiphon secret key " + key).hexdigest()[:8]


def _read_key(text: str, source: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Invalid(source, "a key is 32 bytes in base64: make one with `antiphon config keygen FILE`")
    return key
