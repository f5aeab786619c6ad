"""The address of an object storage for files: `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from antiphon.core.values import Value
from antiphon.errors import Invalid

FIELD = "--files"
PREFIX_MAX = 512
"""Maximum length of a prefix, in characters."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_SEGMENT = re.compile(r"[A-Za-z0-9!_.*'()=-]+")


class ObjectsAddress(Value):
    """A bucket and a prefix in it. `endpoint` and `region` are empty where the environment decides."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    @property
    def place(self) -> str:
        """Where the bytes are, without how they are reached."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def read_objects_address(url: str) -> ObjectsAddress:
    """Parse an address. Raises `Invalid`. Credentials do not belong into it: they would be shown and stored."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc):
        raise Invalid(FIELD, "the address is s3://BUCKET/PREFIX; credentials are in the environment")
    prefix = parts.path.strip("/")
    if len(prefix) > PREFIX_MAX or not all(_is_segment(segment) for segment in prefix.split("/") if prefix):
        raise Invalid(FIELD, "a prefix has letters, digits and a few signs, in segments divided by /")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := options.keys() - {"endpoint", "region"}:
        raise Invalid(FIELD, f"an address has the options endpoint and region, not {min(unknown)!r}")
    endpoint = options.get("endpoint", "")
    given = urlsplit(endpoint)
    if endpoint and (given.scheme not in ("http", "https") or not given.hostname or given.username):
        raise Invalid(FIELD, "endpoint is http://HOST[:PORT] or https://HOST[:PORT], without credentials")
    return ObjectsAddress(
        bucket=parts.netloc, prefix=prefix, endpoint=endpoint.rstrip("/"), region=options.get("region", "")
    )


def _is_segment(segment: str) -> bool:
    return bool(_SEGMENT.fullmatch(segment)) and segment not in (".", "..")
