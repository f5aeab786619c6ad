# Generated from client/asynchronous/streams.py by scripts/blocking_client.py. Do not edit.
"""The streams of a chat and of the owner's feed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from antiphon.client.blocking.request_group import RequestGroup
from antiphon.client.follow import FeedEvent, FollowChat, FollowFeed
from antiphon.core.events import Event
from antiphon.core.view import View
from antiphon.errors import PeerError

GAPS_MAX = 3
"""Maximum number of times that `watch_view` fetches the state again because an event does not continue it."""


class Streams(RequestGroup):
    """The part of `Client` for streams. They reconnect without a limit and resume where they were."""

    def watch(
        self, chat_id: str, *, after: str | None = None, until_idle: bool = False, by_ref: bool = False
    ) -> Generator[Event]:
        """The events of a chat, in order, each once, across reconnects.

        Close the generator if you leave the loop early:
        `with contextlib.closing(client.watch(…)) as events`. Fold the events with `core.view.View`, or use
        `watch_view`.

        Args:
            chat_id: the chat.
            after: the cursor to resume after, as in `event.cursor`; `0`: the beginning; None: a `Resync` with the
                state, then live events.
            until_idle: end when all events were sent and no turn is running.
            by_ref: omit the content of a message whose draft was sent completely; use the draft's.

        Yields:
            The events, without pings. The last one is `Bye`, with the reason idle, deleted or revoked.

        Raises:
            NotFound: there is no such chat.
            CursorInvalid: `after` is not a cursor of the chat.
            Unauthenticated, Forbidden: the token is not valid.
            PeerError: the response is not an event stream.
        """
        follow = FollowChat(
            chat_id, after=after, until_idle=until_idle, by_ref=by_ref, random=self._connection.random
        )
        with closing(self._connection.follow(follow)) as events:
            for event in events:
                yield event

    def watch_view(self, chat_id: str, *, until_idle: bool = False) -> Generator[View]:
        """The view of a chat after every event: the same `View` object each time. Raises as `watch`.

        If an event does not continue the view, the state is fetched again, at most GAPS_MAX times.
        """
        view, gaps = View(), 0
        while True:
            try:
                with closing(self.watch(chat_id, until_idle=until_idle)) as events:
                    for event in events:
                        view.apply(event)
                        yield view
                return
            except PeerError:
                gaps += 1
                if gaps > GAPS_MAX:
                    raise

    def feed(self) -> Generator[FeedEvent]:
        """The changes of all chats of the owner; only the latest state of each is sent. Only available over HTTP.

        A `resync` is the first event after every connect: fetch `chats` again. The feed ends after a `bye` of reason
        revoked, and raises as `watch`.
        """
        follow = FollowFeed(random=self._connection.random)
        with closing(self._connection.follow(follow)) as events:
            for event in events:
                yield event
