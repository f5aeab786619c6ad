"""The routes of uploaded files."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.responses import Response

from antiphon.api.http.answers import JsonAnswer
from antiphon.api.http.bodies import body_is_late, pieces_in_time
from antiphon.api.http.byte_ranges import NotSatisfiable, is_not_modified, may_continue, read_range
from antiphon.api.http.file_answer import FileAnswer
from antiphon.api.http.file_names import checked_name, content_disposition
from antiphon.api.http.shapes.files import UploadAnswer
from antiphon.api.http.table import Call, Operation, Policy, route
from antiphon.ports import StoredFile

SAFE_HEADERS = {
    "accept-ranges": "bytes",
    "cache-control": "private, no-cache",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""A file is a user's content: a browser must neither guess its type, nor run it as a page of this server."""


async def upload_file(call: Call) -> Response:
    headers, limits = call.request.headers, call.limits
    length = headers.get("content-length", "")
    try:
        async with asyncio.timeout(limits.upload_s):
            file = await call.instance.files.upload(
                call.owner_id,
                pieces_in_time(call.request, limits.body_idle_s),
                media_type=headers.get("content-type", ""),
                name=checked_name(headers.get("x-filename", "")),
                size=int(length) if length.isdigit() else None,
            )
    except TimeoutError as error:
        raise body_is_late() from error
    shown = UploadAnswer(
        file_id=file.file_id, media_type=file.media_type, size=file.size, sha256=file.sha256, name=file.name
    )
    return JsonAnswer(shown, 201)


async def get_file(call: Call) -> Response:
    return await file_answer(call, call.path["file_id"])


async def file_answer(call: Call, file_id: str) -> Response:
    """The bytes of a file of the caller's owner, or a range of them. Raises `NotFound`."""
    file = await call.instance.files.get(call.owner_id, file_id)
    asked, etag = call.request.headers, f'"{file.sha256}"'
    headers = SAFE_HEADERS | {"etag": etag, "content-disposition": content_disposition(file.media_type, file.name)}
    if is_not_modified(asked.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    headers["content-type"] = _content_type(file)
    may_be_part = call.request.method == "GET" and may_continue(asked.get("if-range", ""), etag)
    try:
        part = read_range(asked.get("range", ""), file.size) if may_be_part else None
    except NotSatisfiable:
        raise HTTPException(
            416, f"The file has {file.size} bytes.", {"content-range": f"bytes */{file.size}"}
        ) from None
    start, stop = part or (0, file.size)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{file.size}"
    return FileAnswer(
        200 if part is None else 206,
        headers,
        await call.instance.files.open(file, start, stop),
        size=stop - start,
        idle_s=call.limits.download_idle_s,
    )


def _content_type(file: StoredFile) -> str:
    return f"{file.media_type}; charset=utf-8" if file.media_type == "text/plain" else file.media_type


ROUTES: tuple[Operation, ...] = (
    route("POST", "/files", upload_file, Policy.OWNER, "Upload a file; equal bytes are stored once.",
          (201, UploadAnswer), is_upload=True),
    route("GET", "/files/{file_id}", get_file, Policy.OWNER, "The bytes of a file, or a range of them.",
          (200, None), (206, None), (304, None), is_download=True),
)  # fmt: skip
