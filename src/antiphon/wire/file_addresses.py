"""The addresses of files in other protocols: the bytes themselves (`data:`), or a file that is stored here."""

from __future__ import annotations

from antiphon.core.parts import File, FileReference, Part
from antiphon.errors import Invalid
from antiphon.wire.user_content import checked_file

FILES_PATH = "/api/v1/files/"


def file_url(part: File | FileReference) -> str:
    """Where the bytes of a file are: in the address itself, or in this server; empty if they are not stored."""
    if isinstance(part, File) and part.data:
        return f"data:{part.media_type or 'application/octet-stream'};base64,{part.data}"
    return f"{FILES_PATH}{part.file_id}" if part.file_id else ""


def file_of_url(url: str, name: str, field: str) -> Part:
    """The part for such an address. Raises `Invalid` for any other."""
    if url[:5].lower() == "data:":
        return checked_file(File(data=url, name=name), field)
    path = url if url.startswith("/") else "/" + url.partition("://")[2].partition("/")[2]
    file_id = path.removeprefix(FILES_PATH)
    if file_id != path and file_id and "/" not in file_id:
        return FileReference(file_name=name, file_id=file_id)
    raise Invalid(field, f"a data: address, or {FILES_PATH}<id>: remote addresses are not fetched")
