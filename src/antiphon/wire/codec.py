"""JSON encoding and decoding, compatible with Go's encoding/json.

How a type declares which of its fields are always encoded:

- a field that is *omitempty* in Go has a constant default (`""`, `0`, `False`, `()`; None for a Go pointer). It is
  omitted when it has this default: `core.values.Value` sets `omit_defaults`;
- every other field has `always(zero)`. It is always encoded, and decoded as `zero` when missing.

A decoder accepts what newer versions add: unknown fields are ignored, and an element of a union of tagged structs (a
part, a delta's part, a fact) whose tag is unknown becomes an `Unknown`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Self, TypeVar, overload
from uuid import UUID

import msgspec
from msgspec import inspect

from antiphon.core.depth import CONTENT_DEPTH_MAX, flatten, is_deeper
from antiphon.core.parts import DeltaPart, Part, Unknown
from antiphon.errors import PeerError
from antiphon.wire.gotime import Time, format_time_us, parse_time_us

T = TypeVar("T")

NIL_UUID = UUID(int=0)
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

NESTING_MAX = 256
"""Maximum depth of JSON that is decoded. Its value can be encoded and decoded at any depth of Python's stack."""
REASON_CHARACTERS_MAX = 200
"""Maximum length of the reason in a PeerError, in characters: a reason may quote the peer's text."""

LONE_SURROGATES_MAX = 100_000
"""Maximum number of escaped lone surrogates in a text; a text with more is refused."""

_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
"""An escaped surrogate without its pair, in JSON whose escaped backslashes are written as `\\u005c`."""


def always(zero: T) -> T:
    """A field that is always encoded, and decoded as `zero` when missing (msgspec never omits a callable default)."""
    return msgspec.field(default_factory=lambda: zero)


class OpenEnum(StrEnum):
    """An enumeration that newer versions may extend: an unknown value becomes a member equal to it."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member


@overload
def decode(data: bytes, type: type[T], *, is_shallow: bool = False) -> T: ...
@overload
def decode(data: bytes, type: Any, *, is_shallow: bool = False) -> Any: ...
def decode(data: bytes, type: Any, *, is_shallow: bool = False) -> Any:  # noqa: A002
    """Decode a JSON text as a value of `type`. Raises PeerError for any text that cannot be decoded, and nothing
    else.

    An escaped lone surrogate is decoded as U+FFFD. `is_shallow`: the caller has already checked the depth.
    """
    try:
        try:
            value = _decoder(type).decode(data)
        except msgspec.DecodeError:
            value = _decode_slowly(_replace_lone_surrogates(data, LONE_SURROGATES_MAX), type)
        if not is_shallow:
            check_nesting(data)
        return value
    except (ValueError, RecursionError) as error:
        raise PeerError(_sentence(type, error)) from error


@overload
def convert(raw: Any, type: type[T]) -> T: ...
@overload
def convert(raw: Any, type: Any) -> Any: ...
def convert(raw: Any, type: Any) -> Any:  # noqa: A002
    """As `decode`, for JSON that is already dicts, lists, strings and numbers (an envelope's payload)."""
    try:
        try:
            return msgspec.convert(raw, type, dec_hook=_dec_hook)
        except msgspec.ValidationError:
            return _convert_with_unknowns(raw, type)
    except (ValueError, RecursionError) as error:
        raise PeerError(_sentence(type, error)) from error


NOT_JSON = (TypeError, ValueError, NotImplementedError, RecursionError)
"""What `encode` raises for a value that is not JSON."""


def encode(value: Any) -> bytes:
    """The JSON text of a value, without spaces. A lone surrogate (in a file name, say) is encoded as U+FFFD."""
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        return _ENCODER.encode(_without_surrogates(value))


def encode_content(parts: Iterable[Part]) -> bytes:
    """A message's content as canonical JSON: equal content gives equal bytes, whatever the order of its keys. Values
    that nest too deeply become text (`core.depth`)."""
    content = tuple(parts)
    try:
        data = _CANONICAL_ENCODER.encode(content)
    except UnicodeEncodeError:
        data = _CANONICAL_ENCODER.encode(_without_surrogates(content))
    return flatten(data, CONTENT_DEPTH_MAX)


def decode_content(data: bytes) -> tuple[Part, ...]:
    """The parts in a JSON list of any depth. Raises PeerError."""
    return decode(flatten(data, CONTENT_DEPTH_MAX), tuple[Part, ...])


def part_of(raw: Any) -> DeltaPart:
    """A delta's part from its plain JSON. Raises PeerError."""
    part: DeltaPart = convert(raw, DeltaPart)
    return part


def enc_hook(value: Any) -> Any:
    """msgspec's hook for the two classes that it cannot encode itself, `Time` and `Unknown`."""
    if isinstance(value, Time):
        return format_time_us(value.us)
    if isinstance(value, Unknown):
        return value.raw
    raise NotImplementedError(f"{type(value).__name__} has no form on the wire")


def _dec_hook(kind: type, raw: Any) -> Any:
    if issubclass(kind, Time):
        if not isinstance(raw, str):
            raise TypeError("Expected an RFC 3339 time")
        return kind.from_us(parse_time_us(raw))
    raise NotImplementedError(f"{kind.__name__} has no form on the wire")


_ENCODER = msgspec.json.Encoder(enc_hook=enc_hook)
_CANONICAL_ENCODER = msgspec.json.Encoder(enc_hook=enc_hook, order="deterministic")


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_dec_hook)


@lru_cache(maxsize=256)
def _type_info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _decode_slowly(data: bytes, kind: Any) -> Any:
    try:
        return _decoder(kind).decode(data)
    except msgspec.ValidationError:
        return _convert_with_unknowns(msgspec.json.decode(data), kind)


def _replace_lone_surrogates(data: bytes, count_max: int = 0) -> bytes:
    r"""The text with `\ufffd` for each escaped lone surrogate, or for the first `count_max` (0: all)."""
    if b"\\u" not in data:
        return data
    return _LONE.sub(rb"\\ufffd", data.replace(rb"\\", rb"\u005c"), count=count_max)


def _without_surrogates(value: Any) -> Any:
    escaped = json.dumps(msgspec.to_builtins(value, enc_hook=enc_hook)).encode()
    return json.loads(_replace_lone_surrogates(escaped))


def check_nesting(data: bytes) -> None:
    """Raises RecursionError for JSON deeper than NESTING_MAX. `data` is well-formed. (A decoder's own limit differs
    between versions of Python.)"""
    if is_deeper(data, NESTING_MAX):
        raise RecursionError


def _sentence(kind: Any, error: Exception) -> str:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:REASON_CHARACTERS_MAX]
    name = kind.__name__ if isinstance(kind, type) else "JSON"
    return f"Unreadable {name}: {reason.rstrip('.')}."


# The slow path, for JSON that does not match the type. msgspec does not support a plain class in a union of structs.
# So each element with an unknown tag is replaced by a placeholder, the rest is converted, and the `Unknown` is then
# put in the place of the placeholder. The walk follows the type and never descends into a tool's arguments.


def _convert_with_unknowns(raw: Any, kind: Any) -> Any:
    known, unknowns = _split_unknowns(raw, _type_info(kind))
    if isinstance(unknowns, Unknown):
        return unknowns
    return _restore_unknowns(msgspec.convert(known, kind, dec_hook=_dec_hook), unknowns)


def _split_unknowns(raw: Any, info: inspect.Type) -> tuple[Any, Any]:
    """`raw` with placeholders for unknown elements, and these: an Unknown, or {field or index: the same below}."""
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    if isinstance(raw, list):
        for member in members:
            if isinstance(member, inspect.ListType | inspect.VarTupleType):
                return _split_list(raw, member.item_type)
    elif isinstance(raw, dict):
        structs = [member for member in members if isinstance(member, inspect.StructType)]
        for struct in structs:
            if struct.tag_field is None or raw.get(struct.tag_field) == struct.tag:
                return _split_struct(raw, struct)
        tag = raw.get(structs[0].tag_field) if len(structs) > 1 else None
        if isinstance(tag, str):
            return _placeholder(structs) or raw, Unknown(tag, raw)
    return raw, {}


def _split_list(raw: list[Any], item: inspect.Type) -> tuple[list[Any], dict[int, Any]]:
    known: list[Any] = []
    unknowns: dict[int, Any] = {}
    for index, element in enumerate(raw):
        element_known, element_unknowns = _split_unknowns(element, item)
        known.append(element_known)
        if element_unknowns:
            unknowns[index] = element_unknowns
    return known, unknowns


def _split_struct(raw: dict[str, Any], struct: inspect.StructType) -> tuple[dict[str, Any], dict[str, Any]]:
    known = dict(raw)
    unknowns: dict[str, Any] = {}
    for field in struct.fields:
        value = raw.get(field.encode_name)
        if value is None:
            # As in Go, null for a field that cannot be null counts as missing.
            if not _admits_null(field.type):
                known.pop(field.encode_name, None)
            continue
        known[field.encode_name], field_unknowns = _split_unknowns(value, field.type)
        if field_unknowns:
            unknowns[field.name] = field_unknowns
    return known, unknowns


def _restore_unknowns(value: Any, unknowns: Any) -> Any:
    if isinstance(unknowns, Unknown):
        return unknowns
    if not unknowns:
        return value
    if isinstance(value, msgspec.Struct):
        for name, below in unknowns.items():
            # The struct was just created; there are no other references to it.
            msgspec.structs.force_setattr(value, name, _restore_unknowns(getattr(value, name), below))
        return value
    elements = list(value)
    for index, below in unknowns.items():
        elements[index] = _restore_unknowns(elements[index], below)
    return type(value)(elements)


def _placeholder(structs: list[inspect.StructType]) -> dict[str, Any]:
    """JSON of the union's first kind without required fields. A union without such a kind allows an Unknown only at
    the root."""
    for struct in structs:
        if struct.tag_field is not None and not any(field.required for field in struct.fields):
            return {struct.tag_field: struct.tag}
    return {}


def _admits_null(info: inspect.Type) -> bool:
    if isinstance(info, inspect.UnionType):
        return any(_admits_null(member) for member in info.types)
    return isinstance(info, inspect.AnyType | inspect.NoneType | inspect.RawType)
