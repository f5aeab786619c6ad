# Generated from client/asynchronous/client.py by scripts/blocking_client.py. Do not edit.
"""`Client`: the chats of one owner on an instance, blocking."""

from __future__ import annotations

from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Self

from antiphon.client import api_requests, shapes
from antiphon.client.blocking.administration import Administration
from antiphon.client.blocking.chats import Chats
from antiphon.client.blocking.files import Files
from antiphon.client.blocking.histories import Histories
from antiphon.client.blocking.streams import Streams
from antiphon.client.limits import BodyLimits
from antiphon.client.timing import RETRY_S, SILENCE_S, TIMEOUT_S

if TYPE_CHECKING:
    from antiphon.client.local import Endpoints
    from antiphon.client.transport import Verify


class Client(Chats, Histories, Files, Streams, Administration):
    """The chats of one owner on the instance at `url`. Use it as a blocking context manager.

    Results are the JSON objects of the HTTP API; `antiphon.client.shapes` names their fields. Besides the errors of
    each method, a request raises

    - the class of `antiphon.errors` that the code of a refusal names, with the server's sentence;
    - `InstanceMissing`, if no instance answers at the address;
    - `client.errors.AnswerLost`, if the connection was lost after the request was sent: its outcome is unknown;
    - `Unavailable`, the base of both, if the server is stopping;
    - `client.errors.ServerFailed`, if the server failed; `PeerError`, if the server is not Antiphon.

    `send`, `create_chat` and `fork` are repeatable: they carry an id chosen by the client, are retried with full
    jitter for up to `retry_s` seconds while the server is unavailable, and take effect once. So is `upload`, because
    equal bytes are stored once. No other request is retried.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout_s: float = TIMEOUT_S,
        retry_s: float = RETRY_S,
        silence_s: float = SILENCE_S,
        verify: Verify = True,
        body_limits: BodyLimits = BodyLimits(),  # noqa: B008 - a value
        random: Random | None = None,
    ) -> None:
        """Connects on first use.

        Args:
            url: the address of the instance, such as `http://127.0.0.1:8414`.
            token: the owner's bearer token.
            timeout_s: how long to wait for a response, in seconds.
            retry_s: how long a repeatable request is retried, in seconds.
            silence_s: how long a stream may stay silent before it reconnects, in seconds.
            verify: how to verify the certificate of an https address: True, False or an `ssl.SSLContext`.
            body_limits: how much of a response is read, and for how long.
            random: the randomness of the retry delays.

        Raises:
            Invalid: the address or the token is not valid.
        """
        # Imported here because httpx2 is slow to import and `local` does not need it.
        from antiphon.client.blocking.connection import Connection

        self._connection = Connection(
            url,
            token,
            timeout_s=timeout_s,
            retry_s=retry_s,
            silence_s=silence_s,
            verify=verify,
            body_limits=body_limits,
            random=random,
        )

    @classmethod
    def local(cls, endpoints: Endpoints, *, timeout_s: float = TIMEOUT_S, retry_s: float = RETRY_S) -> Self:
        """A client of an instance on this machine, over ZeroMQ and as the admin. All methods but `feed` and those of
        files work. It continues when a standby takes over.

        Args:
            endpoints: the instance's addresses, as in its instance file or announcement.
            timeout_s: how long to wait for a response, in seconds.
            retry_s: how long a repeatable request is retried, in seconds.
        """
        from antiphon.client.local import LocalConnection

        client = cls.__new__(cls)
        client._connection = LocalConnection(endpoints, timeout_s=timeout_s, retry_s=retry_s)
        return client

    @property
    def url(self) -> str:
        """The address of the instance."""
        return self._connection.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. A second call does nothing."""
        self._connection.close()

    # --- the owner's prompt

    def prompt(self) -> shapes.Prompt:
        """The owner's system prompt, for every model call in the owner's chats."""
        return self._connection.request(api_requests.prompt())

    def set_prompt(self, text: str) -> shapes.Prompt:
        """Set the owner's system prompt, from the next model call on, on every instance of the store."""
        return self._connection.request(api_requests.set_prompt(text))

    def delete_prompt(self) -> None:
        """Delete the owner's system prompt."""
        self._connection.request(api_requests.delete_prompt())

    # --- the inbox

    def inbox(self, *, unread: bool = False, limit: int = 50, after: str = "") -> shapes.Inbox:
        """List the owner's notifications, newest first.

        Args:
            unread: only those that are unread.
            limit: maximum number of notifications.
            after: the `next` of the previous page.
        """
        return self._connection.request(api_requests.inbox(unread=unread, limit=limit, after=after))

    def read_notification(self, notification_id: str) -> shapes.Notification:
        """Mark a notification as read. Raises `NotFound`."""
        return self._connection.request(api_requests.read_notification(notification_id))

    def read_whole_inbox(self) -> int:
        """Mark all notifications as read. Returns the number of unread notifications after it."""
        answer = self._connection.request(api_requests.read_whole_inbox())
        return answer["unread_count"]

    # --- health

    def healthz(self) -> shapes.Health:
        """Check that the instance responds; needs no token. Raises `InstanceMissing`."""
        return self._connection.request(api_requests.healthz())

    def readyz(self) -> None:
        """Check that the instance is ready for work; needs no token. Raises `Unavailable` while it is degraded."""
        self._connection.request(api_requests.readyz())
