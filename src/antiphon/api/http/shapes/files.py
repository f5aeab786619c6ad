"""The response to an upload."""

from __future__ import annotations

from antiphon.core.values import Value


class UploadAnswer(Value):
    """An uploaded file. `size` is in bytes, `sha256` in hexadecimal digits."""

    file_id: str
    media_type: str
    size: int
    sha256: str
    name: str = ""
