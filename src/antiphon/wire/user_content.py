"""Validates the content of a person's message, for every API.

Parts of other APIs (OpenAI's chat completions and Responses) are translated. A part that is unknown, or that cannot
be sent to a model, is refused with a sentence and not stored.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.core.draft import replace_surrogates
from antiphon.core.parts import File, FileReference, Part, Text, Unknown, file_ids_of
from antiphon.errors import Invalid, PeerError
from antiphon.wire.codec import convert
from antiphon.wire.ids import canonical_id

FIELD = "content"
KNOWN = "text, file and file-reference"
NAME_MAX = 256
"""Maximum length of a file's name, in characters."""
FILES_MAX = 64
"""Maximum number of uploaded files that a message refers to."""
FILE_ID_MAX = 128
"""Maximum length of a file's id, in characters."""
DATA_URL_HEAD_MAX = 256
"""Maximum length of the media type and its parameters in a data: URL, in characters."""
_SPACES = b" \t\n\r\v\f"
_WORD = re.compile(r"[^;,\s]*")
_MEDIA_TYPES = {
    "csv": "text/csv",
    "gif": "image/gif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "md": "text/markdown",
    "mp3": "audio/mpeg",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webp": "image/webp",
}


def user_parts(content: str | Sequence[Part | Mapping[str, Any]]) -> tuple[Part, ...]:
    """The parts of a person's message, normalised. Raises `Invalid` with the index of a part that is not allowed, and
    for too many uploaded files."""
    if isinstance(content, str):
        return (Text(replace_surrogates(content)),)
    parts = tuple(_user_part(part, f"{FIELD}[{index}]") for index, part in enumerate(content))
    if len(file_ids_of(parts)) > FILES_MAX:
        raise Invalid(FIELD, f"a message refers to at most {FILES_MAX} files")
    return parts


def checked_file(file: File, field: str = "file") -> File:
    """The file with its data as plain base64, without white space and without a `data:` prefix, whose type is used.
    Raises `Invalid` for data that is not base64, and for a file without data."""
    if not file.data:
        said = "files by id are not supported here" if file.file_id else "a file needs media_type and data"
        raise Invalid(field, f"{said}; send the bytes as base64 in data")
    media_type, data = file.media_type, file.data
    if data[:5].lower() == "data:":
        given, data = _read_data_url(data, field)
        media_type = media_type or given
    data = _plain_base64(data, field)
    if len(file.name) > NAME_MAX:
        raise Invalid(field, f"a file's name has at most {NAME_MAX} characters")
    return msgspec.structs.replace(file, media_type=media_type or _type_by_name(file.name), data=data)


def result_file(reference: Mapping[str, Any]) -> FileReference:
    """The part for a file that the result of a client's tool names. Raises `Invalid`."""
    name = reference.get("file_name", "")
    return _reference(reference.get("file_id"), name if isinstance(name, str) else "", "result")


def _user_part(part: Any, field: str) -> Part:
    if isinstance(part, Mapping):
        try:
            part = convert(dict(part), Part)
        except PeerError as error:
            raise Invalid(field, str(error)) from error
    match part:
        case Text() | FileReference(file_id=""):
            return part
        case FileReference():
            file_id = _checked_id(part.file_id, field)  # the server describes the file
            return msgspec.structs.replace(part, file_id=file_id, media_type="", size=0, width=0, height=0)
        case File(data="", file_id=file_id) if file_id:
            return _reference(file_id, part.name, field)
        case File():
            return msgspec.structs.replace(checked_file(part, field), file_id="")
        case Unknown(type=kind) if kind in _TRANSLATED:
            return _TRANSLATED[kind](part.raw, field)
    kind = part.type if isinstance(part, Unknown) else _tag_of(part)
    raise Invalid(field, f"a message may have {KNOWN} parts, not {kind[:80]!r}")


def _reference(file_id: Any, name: str, field: str) -> FileReference:
    """A part for an uploaded file."""
    if len(name) > NAME_MAX:
        raise Invalid(field, f"a file's name has at most {NAME_MAX} characters")
    return FileReference(file_name=name, file_id=_checked_id(file_id, field))


def _checked_id(file_id: Any, field: str) -> str:
    if not isinstance(file_id, str) or not 0 < len(file_id) <= FILE_ID_MAX:
        raise Invalid(field, f"file_id is a string of at most {FILE_ID_MAX} characters")
    return canonical_id(file_id)


def _tag_of(part: Any) -> str:
    return str(getattr(getattr(part, "__struct_config__", None), "tag", None) or type(part).__name__)


# --- the parts of other APIs


def _input_text(raw: dict[str, Any], field: str) -> Part:
    return Text(_string(raw, "text", field))


def _image(raw: dict[str, Any], field: str) -> Part:
    """`image_url` of chat completions ({url}) and `input_image` of Responses (the URL, or file_id)."""
    given = raw.get("image_url")
    url = given.get("url") if isinstance(given, Mapping) else given
    if raw.get("file_id") and not url:
        return _reference(raw["file_id"], "", field)
    if not isinstance(url, str) or not url:
        raise Invalid(field, "image_url is missing")
    return _from_data_url(url, field, name="")


def _input_file(raw: dict[str, Any], field: str) -> Part:
    """`input_file` of Responses: {filename, file_data or file_id}."""
    name = _string(raw, "filename", field) if raw.get("filename") else ""
    if raw.get("file_data"):
        return checked_file(File(data=_string(raw, "file_data", field), name=name), field)
    if raw.get("file_url"):
        return _from_data_url(_string(raw, "file_url", field), field, name=name)
    if raw.get("file_id"):
        return _reference(raw["file_id"], name, field)
    raise Invalid(field, "the file is missing: give file_id, or the bytes as base64 in file_data")


_TRANSLATED: dict[str, Callable[[dict[str, Any], str], Part]] = {
    "input_text": _input_text,
    "image_url": _image,
    "input_image": _image,
    "input_file": _input_file,
}


def _from_data_url(url: str, field: str, *, name: str) -> Part:
    if url[:5].lower() != "data:":
        raise Invalid(field, "remote addresses are not fetched; send the bytes as a data: URL")
    return checked_file(File(data=url, name=name), field)


def _string(raw: dict[str, Any], key: str, field: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str):
        raise Invalid(field, f"{key} is a string")
    return value


# --- data


def _read_data_url(url: str, field: str) -> tuple[str, str]:
    """The media type and the data of `data:<media type>;<name>=<value>;base64,<data>` (RFC 2397)."""
    head_end = url.find(",", 0, DATA_URL_HEAD_MAX)
    media_type, *options = url[len("data:") : max(head_end, 0)].split(";")
    is_base64 = bool(options) and options.pop().lower() == "base64"
    if not is_base64 or not all(_WORD.fullmatch(word) for word in (media_type, *options)):
        raise Invalid(field, "a data: URL must be base64: data:<media type>;base64,<data>")
    return media_type.lower(), url[head_end + 1 :]


def _plain_base64(data: str, field: str) -> str:
    """The data without white space. Raises `Invalid` for empty data and data that is not base64."""
    try:
        plain = data.encode("ascii").translate(None, _SPACES)
        decoded = base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(field, "data is not base64") from error
    if not decoded:
        raise Invalid(field, "data is empty")
    return plain.decode("ascii")


def _type_by_name(name: str) -> str:
    return _MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
