"""Ids that are the same in every run (port Ids)."""

from __future__ import annotations

import base64
import uuid
from random import Random


class SeededIds:
    """Ids from a seeded random generator. They can be guessed, so they are for tests only."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self._random.randbytes(16), version=4))

    def secret(self) -> str:
        return base64.urlsafe_b64encode(self._random.randbytes(32)).rstrip(b"=").decode()
