# Generated from client/asynchronous/histories.py by scripts/blocking_client.py. Do not edit.
"""The requests on what a chat was, and on what is made of it: versions, forks, exports and links."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator
from contextlib import closing
from typing import Literal

from antiphon.client import api_requests, shapes
from antiphon.client.blocking.request_group import RequestGroup
from antiphon.client.file_pieces import DownloadedFile


class Histories(RequestGroup):
    """The part of `Client` for the histories of chats."""

    def versions(self, chat_id: str) -> list[shapes.Version]:
        """What edits and retries have replaced, oldest first. `messages(as_of=version["seq"] - 1)` returns the
        history as it was before."""
        found = self._connection.request(api_requests.versions(chat_id))
        return found["versions"]

    def fork(
        self,
        chat_id: str,
        message_id: int,
        *,
        as_of: int | None = None,
        id: str | None = None,  # noqa: A002 - the wire's own word
        title: str = "",
    ) -> shapes.Chat:
        """Create a chat with the history of another one up to a message. This request is repeatable.

        Args:
            chat_id: the chat that is forked; it does not change.
            message_id: the last message of the fork; with tool calls, their results are part of it.
            as_of: the history as it was at that seq; default: as it is now.
            id: a UUID for the new chat; default: a new one.
            title: the title; default: that of the source.

        Raises:
            NotFound: there is no such message in that history.
            Invalid: a tool call of the message has no result yet.
            TooLarge: the history has more than 1,000 messages or 16 MiB.
        """
        id = id or str(uuid.uuid4())  # noqa: A001
        return self._connection.request(
            api_requests.fork(chat_id, message_id=message_id, as_of=as_of, id=id, title=title)
        )

    def export_to(
        self,
        chat_id: str,
        path: os.PathLike[str],
        *,
        format: Literal["json", "markdown"] = "json",  # noqa: A002 - the wire's own word
    ) -> int:
        """Write a chat with all of its messages to a file. If it fails, `path` is unchanged.

        Args:
            chat_id: the chat.
            path: where to write it; an existing file is replaced.
            format: json, or markdown for people.

        Returns:
            The size in bytes.

        Raises:
            OSError: it cannot be written.
        """
        with DownloadedFile(path) as written:
            with closing(self.export(chat_id, format=format)) as pieces:
                for piece in pieces:
                    written.write(piece)
        return written.size

    def export(
        self,
        chat_id: str,
        *,
        format: Literal["json", "markdown"] = "json",  # noqa: A002 - the wire's own word
    ) -> Generator[bytes, None]:
        """The bytes of a chat with all of its messages, piece by piece, as in `export_to`."""
        with closing(self._connection.download(api_requests.export(chat_id, format))) as pieces:
            for piece in pieces:
                yield piece

    def create_share(self, chat_id: str) -> shapes.NewShare:
        """Make a link by which anyone reads the chat: the address of the web UI and `#/shared/<secret>`. The secret
        is returned only once. Raises `TooMany` for more than 20 links to one chat."""
        return self._connection.request(api_requests.create_share(chat_id))

    def shares(self, chat_id: str) -> list[shapes.Share]:
        """The links to a chat, without their secrets."""
        found = self._connection.request(api_requests.shares(chat_id))
        return found["shares"]

    def revoke_share(self, chat_id: str, share_id: str) -> None:
        """Revoke a link. Raises `NotFound` if there is no such link."""
        self._connection.request(api_requests.revoke_share(chat_id, share_id))
