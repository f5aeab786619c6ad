"""Files that a model's provider refuses, such as a damaged image: later calls of the chat go without them.

How it works
------------
A provider refuses a whole request for one file, and says in words of its own which one, if at all. So the file is
found by trying: a refused request is sent again without the files of one message, the newest first, and at last
without any file of earlier messages. The one that is accepted is the answer, and what it went without is remembered
here, for the next calls of the chat. Nothing is stored: another instance, or this one after a restart, finds the
file again by one more refused request.

The files that a person sends with the turn itself are not left out: an answer without them would answer another
question. The turn fails, and its error names them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence, Set

from msgspec.structs import replace

from antiphon.core.parts import File, FileReference, Part, Role, Text
from antiphon.errors import AttemptFailed
from antiphon.ports import Message
from antiphon.worker.files import is_loaded

CHATS_MAX = 10_000
"""Maximum number of chats and models whose refused files are remembered. Of the least recently used one they are
found again."""
SINGLES_MAX = 3
"""Maximum number of messages that are tried one by one."""
NAMES_MAX = 5
"""Maximum number of files that an error names."""
REFUSALS = frozenset({"invalid_request", "content_filter"})
"""The kinds of failures that a file may have caused."""

_FILE_WORDS = re.compile(r"image|picture|photo|file|document|pdf|media|audio|video|base64|attachment|pixel", re.I)

_Key = tuple[str, str, str]


class RefusedFiles:
    """The messages whose files are left out, by chat, provider and model."""

    def __init__(self) -> None:
        self._found: OrderedDict[_Key, frozenset[int]] = OrderedDict()

    def get(self, key: _Key) -> frozenset[int]:
        """The ids of messages whose files a model has refused."""
        if key in self._found:
            self._found.move_to_end(key)
        return self._found.get(key, frozenset())

    def put(self, key: _Key, message_ids: frozenset[int]) -> None:
        """Remember that a model has answered without the files of these messages."""
        self._found[key] = message_ids
        self._found.move_to_end(key)
        if len(self._found) > CHATS_MAX:
            self._found.popitem(last=False)


class FileTrial:
    """What one model call goes without: at first the files that are known to be refused."""

    def __init__(self, refused: RefusedFiles, key: _Key, turn_id: int) -> None:
        self._refused = refused
        self._key = key
        self._turn_id = turn_id
        self._known = self._left_out = refused.get(key)
        self._refusal: AttemptFailed | None = None
        self._choices: Iterator[frozenset[int]] = iter(())

    def shown(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages as the model gets them now."""
        return _without_files(messages, self._left_out)

    def note(self, messages: Sequence[Message]) -> str:
        """What a person is shown if a file is left out for the first time; empty: nothing."""
        new = [m for m in messages if m.id in self._left_out - self._known]
        return f"(Left out: {_names(new)}. The model's provider refused the request with it.)" if new else ""

    def leave_out_more(self, messages: Sequence[Message], error: AttemptFailed) -> None:
        """Choose other files to leave out after this failure.

        Raises:
            AttemptFailed: A file is not the reason, or leaving files out does not help. It names the files that were
                sent with the turn.
        """
        if error.kind not in REFUSALS or error.retryable:
            raise error
        if self._refusal is None:
            self._refusal = error
            self._choices = _iter_choices(messages, self._turn_id, self._left_out, error)
        chosen = next(self._choices, None)
        if chosen is None:
            raise with_names(self._refusal, messages, self._turn_id) from error
        self._left_out = chosen

    def accept(self) -> None:
        """The model has answered: the next calls of the chat go without the same files."""
        if self._left_out != self._known:
            self._refused.put(self._key, self._left_out)


def _iter_choices(
    messages: Sequence[Message], turn_id: int, left_out: Set[int], error: AttemptFailed
) -> Iterator[frozenset[int]]:
    """The messages to leave the files of, one choice after another, `left_out` included. None if no other message of
    earlier turns has files."""
    others = (message for message in reversed(messages) if message.id not in left_out)
    ids = [message.id for message in others if _has_files(message) and not _is_sent_now(message, turn_id)]
    before = frozenset(left_out)
    if len(ids) > 1 and _FILE_WORDS.search(str(error)):
        for message_id in ids[:SINGLES_MAX]:
            yield before | {message_id}
    if ids:
        yield before.union(ids)


def _without_files(messages: Sequence[Message], message_ids: Set[int]) -> tuple[Message, ...]:
    """The messages; those with these ids have a text in place of each file."""
    if not message_ids:
        return tuple(messages)
    return tuple(
        replace(m, content=tuple(_named(part) if _is_file(m, part) else part for part in m.content))
        if m.id in message_ids
        else m
        for m in messages
    )


def with_names(error: AttemptFailed, messages: Sequence[Message], turn_id: int) -> AttemptFailed:
    """The failure of a call; with the names of the files that were sent with the turn, if there are any."""
    sent = [m for m in messages if _is_sent_now(m, turn_id) and _has_files(m)]
    if not sent or error.kind not in REFUSALS:
        return error
    advice = "if the provider cannot read that, edit the message; in later turns the model gets the name only"
    return AttemptFailed(
        error.kind,
        f"{error} The message has {_names(sent)}: {advice}.",
        retryable=error.retryable,
        provider=error.provider,
        status_code=error.status_code,
    )


def _is_sent_now(message: Message, turn_id: int) -> bool:
    """Whether a person has sent the message in this turn."""
    return message.role is Role.USER and message.id >= turn_id


def _has_files(message: Message) -> bool:
    return any(_is_file(message, part) for part in message.content)


def _is_file(message: Message, part: Part) -> bool:
    """Whether a model gets the bytes of a part."""
    return is_loaded(message, part) or (isinstance(part, File) and message.role is not Role.ASSISTANT)


def _named(part: Part) -> Part:
    return Text(f"[the file {_name(part)}: refused by the provider]")


def _name(part: Part) -> str:
    if isinstance(part, FileReference):
        return part.file_name or part.file_id
    assert isinstance(part, File)
    return part.name or f"without a name ({part.media_type})"


def _names(messages: Sequence[Message]) -> str:
    names = [_name(part) for message in messages for part in message.content if _is_file(message, part)]
    shown = ", ".join(names[:NAMES_MAX]) + (f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else "")
    return f"the file {shown}" if len(names) == 1 else f"the files {shown}"
