# Generated from client/asynchronous/files.py by scripts/blocking_client.py. Do not edit.
"""The requests on uploaded files."""

from __future__ import annotations

import os
from contextlib import closing

from antiphon.client import api_requests, shapes
from antiphon.client.blocking.request_group import RequestGroup
from antiphon.client.file_pieces import DownloadedFile, FileSource, name_of, size_of, type_of
from antiphon.client.limits import ANSWER_BYTES_MAX
from antiphon.errors import Invalid, PeerError


class Files(RequestGroup):
    """The part of `Client` for files. They are transferred over HTTP only."""

    def upload(
        self, source: FileSource, *, media_type: str | None = None, name: str | None = None
    ) -> shapes.UploadedFile:
        """Upload a file. It is durable when this returns. Equal bytes are stored once, so this request is repeatable.
        Name the file in a message by the part `{"type": "file-reference", "file_id": …}`.

        Args:
            source: the bytes, or the path of a file, which is read piece by piece.
            media_type: the media type; default: by the name, and the server checks the bytes of images.
            name: the name; default: that of the file.

        Returns:
            The file; if the owner has an equal one, that one.

        Raises:
            Invalid: the file is empty, or its bytes are not of the media type.
            TooLarge: the file is too large.
            TooMany: the owner's files are too many or too large.
        """
        name = name_of(source) if name is None else name
        media_type = type_of(name) if media_type is None else media_type
        request = api_requests.upload(size=size_of(source), media_type=media_type, name=name)
        return self._connection.upload(request, source)

    def download(self, file_id: str, *, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes of a file, or a range of them. Use `download_to` for a large file.

        Args:
            file_id: the file.
            start: the position of the first byte.
            stop: the position after the last byte; default: the end.

        Raises:
            NotFound: the owner has no such file.
            Invalid: `stop` is not after `start`.
            Refused: `start` is beyond the end.
            PeerError: it has more than 128 MiB.
        """
        if stop is not None and stop <= start:
            raise Invalid("stop", "it must be after start")
        data = bytearray()
        request = api_requests.download(file_id, start=start, stop=stop)
        with closing(self._connection.download(request)) as pieces:
            for piece in pieces:
                data += piece
                if len(data) > ANSWER_BYTES_MAX:
                    raise PeerError(f"The file is longer than {ANSWER_BYTES_MAX:,} bytes; use `download_to`.")
        return bytes(data)

    def download_to(self, file_id: str, path: os.PathLike[str]) -> int:
        """Write a file of any size to `path`, piece by piece. If it fails, `path` is unchanged.

        Args:
            file_id: the file.
            path: where to write it; an existing file is replaced.

        Returns:
            The size in bytes.

        Raises:
            NotFound: the owner has no such file.
            OSError: it cannot be written.
        """
        request = api_requests.download(file_id, start=0, stop=None)
        with DownloadedFile(path) as written:
            with closing(self._connection.download(request)) as pieces:
                for piece in pieces:
                    written.write(piece)
        return written.size
