"""`AsyncClient`: an instance's chats from afar, for asyncio."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from antiphon.client import calls, shapes
from antiphon.client.backoff import RETRY_S, SILENCE_S, TIMEOUT_S
from antiphon.client.follow import FeedEvent, FollowChat, FollowFeed
from antiphon.core.events import Event
from antiphon.core.view import View
from antiphon.errors import PeerError

if TYPE_CHECKING:
    from antiphon.client.async_connection import AsyncConnection
    from antiphon.client.near import AsyncNearConnection, Endpoints
    from antiphon.client.transport import Verify

GAPS_MAX = 3
"""`watch_view` fetches the state anew so often when an event does not fit."""


class AsyncClient:
    """One owner's chats on the instance at `url`, e.g. `http://127.0.0.1:8414`. Use it as a context manager.

    Answers are the JSON objects of docs/http.md (`antiphon.client.shapes` names their fields). A refused request
    raises the class of `antiphon.errors` that its code names, with the server's sentence; `InstanceMissing` means
    that nobody answers at the address, `client.errors.AnswerLost` that the connection broke before the answer:
    both are `Unavailable`, as is a server that is stopping.

    `send` and `create_chat` carry an id of the client's, so they are tried again for up to `retry_s` seconds (full
    jitter) while the server is away, and take effect once. Nothing else is tried again by itself. `timeout_s`
    bounds every wait for an answer, `silence_s` that for the next sign of life of a stream.
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
        random: Random | None = None,
    ) -> None:
        """Connects to nothing yet. Raises `Invalid` for an address that is none. `verify` is what an https
        certificate is checked with."""
        from antiphon.client.async_connection import (
            AsyncConnection,  # what it stands on takes long to load, and `near` needs none of it
        )

        self._connection: AsyncConnection | AsyncNearConnection = AsyncConnection(
            url,
            token,
            timeout_s=timeout_s,
            retry_s=retry_s,
            silence_s=silence_s,
            verify=verify,
            random=random,
        )

    @classmethod
    def near(cls, endpoints: Endpoints, *, timeout_s: float = TIMEOUT_S, retry_s: float = RETRY_S) -> Self:
        """A client of an instance on this machine, over ZeroMQ and for the admin; all but `feed` works the same, and
        a standby that takes over is not noticed."""
        from antiphon.client.near import AsyncNearConnection

        client = cls.__new__(cls)
        client._connection = AsyncNearConnection(endpoints, timeout_s=timeout_s, retry_s=retry_s)
        return client

    @property
    def url(self) -> str:
        """The address it was made with."""
        return self._connection.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a second time nothing happens."""
        await self._connection.aclose()

    # --- chats

    async def create_chat(
        self,
        content: shapes.Content | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the wire's own word
        title: str = "",
        model: str = "",
        system: str = "",
        labels: dict[str, str] | None = None,
    ) -> shapes.Chat:
        """Create a chat; with content its first turn starts. `id` is a UUID, made here if it is not given.

        The same id with the same body gives the same chat, with another body `Conflict`.
        """
        id = id or str(uuid.uuid4())  # noqa: A001
        call = calls.create_chat(id=id, content=content, title=title, model=model, system=system, labels=labels)
        return await self._connection.ask(call)

    async def chats(
        self, *, archived: bool = False, label: str = "", title: str = "", limit: int = 50, after: str | None = None
    ) -> shapes.ChatPage:
        """A page of chats, latest change first; `after` is the `next` of the page before.

        `label` is `key` or `key:value`, `title` a part of the title, `limit` at most 500.
        """
        call = calls.chats(archived=archived, label=label, title=title, limit=limit, after=after)
        return await self._connection.ask(call)

    async def chat(self, chat_id: str) -> shapes.Chat:
        """One chat. Raises `NotFound`."""
        return await self._connection.ask(calls.chat(chat_id))

    async def update_chat(
        self,
        chat_id: str,
        *,
        title: str | None = None,
        archived: bool | None = None,
        labels: dict[str, str] | None = None,
        pin_order: int | None = None,
        model: str | None = None,
        system: str | None = None,
    ) -> shapes.Chat:
        """Change what is given, all in one append; None leaves a thing as it is."""
        call = calls.update_chat(
            chat_id, title=title, archived=archived, labels=labels, pin_order=pin_order, model=model, system=system
        )
        return await self._connection.ask(call)

    async def delete_chat(self, chat_id: str) -> None:
        """Delete a chat and its content; its streams end."""
        await self._connection.ask(calls.delete_chat(chat_id))

    # --- messages

    async def messages(
        self, chat_id: str, *, after_id: int | None = None, before_id: int | None = None, limit: int = 50
    ) -> shapes.MessagePage:
        """A page of the history, ascending, and the queue: the newest page, that after `after_id`, or that before
        `before_id`. `limit` is 1 to 1,000."""
        call = calls.messages(chat_id, after_id=after_id, before_id=before_id, limit=limit)
        return await self._connection.ask(call)

    async def send(
        self,
        chat_id: str,
        content: shapes.Content,
        *,
        when_busy: shapes.WhenBusy = "queue",
        client_message_id: str | None = None,
        model: str = "",
    ) -> shapes.Sent:
        """Send a message; durable when this returns. A busy chat queues it, or does what `when_busy` says.

        `client_message_id` (1 to 128 printable ASCII) is made here if it is not given; the same one with the same
        body gives the same answer, with another body `Conflict`. Raises `Busy` if `when_busy` is reject, `TooMany`
        or `TooLarge` if the queue is full.
        """
        client_id = client_message_id or str(uuid.uuid4())
        call = calls.send(chat_id, content, when_busy=when_busy, client_message_id=client_id, model=model)
        return await self._connection.ask(call)

    async def edit(
        self, chat_id: str, message_id: int, content: shapes.Content, *, clear_queue: bool = False
    ) -> shapes.Edited:
        """Put another message in the place of a user's: the history is cut there and a turn starts."""
        return await self._connection.ask(calls.edit(chat_id, message_id, content, clear_queue=clear_queue))

    async def retry(self, chat_id: str, turn_id: int | None = None) -> shapes.Retried:
        """Run the last turn again, under its id. Raises `Busy` while one runs."""
        return await self._connection.ask(calls.retry(chat_id, turn_id))

    async def interrupt(self, chat_id: str, turn_id: int, *, clear_queue: bool = False) -> shapes.Interrupted:
        """Stop this turn and no other; asking twice is no error."""
        return await self._connection.ask(calls.interrupt(chat_id, turn_id, clear_queue=clear_queue))

    async def approve(self, chat_id: str, tool_call_id: str) -> shapes.Seq:
        """Allow a tool call that waits for it. Raises `NotAllowedNow` when it was answered before."""
        return await self._connection.ask(calls.decide_call(chat_id, tool_call_id, approved=True, reason=""))

    async def deny(self, chat_id: str, tool_call_id: str, *, reason: str = "") -> shapes.Seq:
        """Deny it; the model is told why."""
        return await self._connection.ask(calls.decide_call(chat_id, tool_call_id, approved=False, reason=reason))

    # --- the queue

    async def edit_queued(self, chat_id: str, queued_id: int, content: shapes.Content) -> shapes.Seq:
        """Raises `AlreadyDelivered` if it has left the queue, as do the queue's other commands."""
        return await self._connection.ask(calls.edit_queued(chat_id, queued_id, content))

    async def delete_queued(self, chat_id: str, queued_id: int) -> shapes.Seq:
        """Take it out of the queue; a second time nothing happens."""
        return await self._connection.ask(calls.delete_queued(chat_id, queued_id))

    async def move_queued(self, chat_id: str, queued_id: int, *, before: int | None = None) -> shapes.Seq:
        """Move it before another one (None: to the end) of its part: promoted ones stay before the others."""
        return await self._connection.ask(calls.move_queued(chat_id, queued_id, before))

    async def promote_queued(self, chat_id: str, queued_id: int) -> shapes.Seq:
        """Deliver it next, behind those promoted earlier; the turn is interrupted."""
        return await self._connection.ask(calls.promote_queued(chat_id, queued_id))

    # --- following

    async def watch(
        self, chat_id: str, *, after: str | None = None, until_idle: bool = False, by_ref: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Every event of a chat, in order, none twice, across lost connections; each says in `cursor` where to
        resume. `after` is such a cursor, `0` the beginning, None: from now, a `Resync` first.

        It comes back by itself for as long as it takes. It ends after `Bye(reason)` of reason idle (only with
        `until_idle`: caught up and the chat at rest), deleted or revoked. It raises `NotFound`,
        `Unauthenticated`, `Forbidden` or `CursorInvalid` when the server says so, and `PeerError` for what is no
        stream. Pings are swallowed. With `by_ref` the message of a draft that was watched to its end comes without
        its content: keep the draft's. Fold the events with `core.view.View`, or use `watch_view`.

        Leaving the loop early? Close it: `async with contextlib.aclosing(client.watch(…)) as events`.
        """
        follow = FollowChat(
            chat_id, after=after, until_idle=until_idle, by_ref=by_ref, random=self._connection.random
        )
        async with aclosing(self._connection.follow(follow)) as events:
            async for event in events:
                yield event

    async def watch_view(self, chat_id: str, *, until_idle: bool = False) -> AsyncGenerator[View, None]:
        """What the chat shows, after every change: the same `View` each time, folded further.

        It raises what `watch` raises. Should an event not fit, the state is fetched anew.
        """
        view, gaps = View(), 0
        while True:
            try:
                async with aclosing(self.watch(chat_id, until_idle=until_idle)) as events:
                    async for event in events:
                        view.apply(event)
                        yield view
                return
            except PeerError:
                gaps += 1
                if gaps > GAPS_MAX:
                    raise

    async def feed(self) -> AsyncGenerator[FeedEvent, None]:
        """The changes of all chats of the owner, latest state only. After every (re)connect a `resync` comes first:
        fetch `chats` again. It ends after a `bye` of reason revoked and raises what `watch` raises."""
        follow = FollowFeed(random=self._connection.random)
        async with aclosing(self._connection.follow(follow)) as events:
            async for event in events:
                yield event

    # --- tokens (the admin's)

    async def create_token(self, owner: str, *, admin: bool = False) -> shapes.NewToken:
        """A token for that owner, who is made if need be; its secret is shown this once. `Forbidden` unless admin."""
        return await self._connection.ask(calls.create_token(owner, admin=admin))

    async def tokens(self) -> list[shapes.Token]:
        """All tokens, without their secrets."""
        return (await self._connection.ask(calls.tokens()))["tokens"]

    async def revoke_token(self, token_id: str) -> None:
        """From now on it opens nothing, and its streams end; a second time nothing happens."""
        await self._connection.ask(calls.revoke_token(token_id))

    # --- configuration (the admin's; anyone may read it)

    async def providers(self) -> list[shapes.Provider]:
        """Where models are called, in the order they were added."""
        return (await self._connection.ask(calls.providers()))["providers"]

    async def create_provider(
        self, name: str, *, kind: str = "openai", base_url: str = "", secret: str = "", is_enabled: bool = True
    ) -> shapes.Provider:
        """Add a provider: its models are `<name>:<model>`. `secret` is `env:NAME`, `file:PATH` or the secret itself,
        which is never given back."""
        return await self._connection.ask(
            calls.create_provider(name=name, kind=kind, base_url=base_url, secret=secret, is_enabled=is_enabled)
        )

    async def change_provider(
        self,
        provider_id: str,
        *,
        name: str | None = None,
        kind: str | None = None,
        base_url: str | None = None,
        secret: str | None = None,
        is_enabled: bool | None = None,
    ) -> shapes.Provider:
        """Change what is given. Another kind or base_url forgets the secret, unless a new one comes along; an empty
        one takes it away."""
        changes = {"name": name, "kind": kind, "base_url": base_url, "secret": secret, "is_enabled": is_enabled}
        return await self._connection.ask(calls.change_provider(provider_id, **changes))

    async def delete_provider(self, provider_id: str) -> None:
        """Calls that run end; no other begins."""
        await self._connection.ask(calls.delete_provider(provider_id))

    async def model_configs(self) -> list[shapes.ModelConfig]:
        """The names a model may be chosen by, in the order they were added."""
        return (await self._connection.ask(calls.model_configs()))["model_configs"]

    async def create_model_config(
        self,
        name: str,
        model: str,
        *,
        parameters: dict[str, Any] | None = None,
        is_default: bool = False,
        is_enabled: bool = True,
    ) -> shapes.ModelConfig:
        """Name a model: `parameters` go into each call of it. The default one is taken where nobody names any."""
        return await self._connection.ask(
            calls.create_model_config(
                name=name, model=model, parameters=parameters, is_default=is_default, is_enabled=is_enabled
            )
        )

    async def change_model_config(
        self,
        config_id: str,
        *,
        name: str | None = None,
        model: str | None = None,
        parameters: dict[str, Any] | None = None,
        is_default: bool | None = None,
        is_enabled: bool | None = None,
    ) -> shapes.ModelConfig:
        """Change what is given; `parameters` are replaced as a whole."""
        changes = {
            "name": name,
            "model": model,
            "parameters": parameters,
            "is_default": is_default,
            "is_enabled": is_enabled,
        }
        return await self._connection.ask(calls.change_model_config(config_id, **changes))

    async def delete_model_config(self, config_id: str) -> None:
        """Chats that name it cannot be answered until they name another one."""
        await self._connection.ask(calls.delete_model_config(config_id))

    async def prompt(self) -> shapes.Prompt:
        """What every model is told first in one's own chats."""
        return await self._connection.ask(calls.prompt())

    async def set_prompt(self, text: str) -> shapes.Prompt:
        """From the next model call on, here and on every other instance."""
        return await self._connection.ask(calls.set_prompt(text))

    async def delete_prompt(self) -> None:
        """Nothing is said first any more."""
        await self._connection.ask(calls.delete_prompt())

    # --- the inbox

    async def inbox(self, *, unread: bool = False, limit: int = 50, after: str = "") -> shapes.Inbox:
        """What happened while nobody watched, the newest first; `after` is the `next` of the page before."""
        return await self._connection.ask(calls.inbox(unread=unread, limit=limit, after=after))

    async def read_notification(self, notification_id: str) -> shapes.Notification:
        """Mark a notification as read. Raises `NotFound`."""
        return await self._connection.ask(calls.read_notification(notification_id))

    async def read_whole_inbox(self) -> int:
        """Mark all notifications as read; how many are unread then."""
        return (await self._connection.ask(calls.read_whole_inbox()))["unread_count"]

    async def read_chat(self, chat_id: str, *, seq: int | None = None) -> int:
        """Say that its owner has read the chat, up to `seq` (None: all of it); where the cursor then is."""
        return (await self._connection.ask(calls.read_chat(chat_id, seq=seq)))["seq"]

    async def set_diff_status(self, chat_id: str, **status: Any) -> int:
        """Say how the pull request of a chat stands: the fields of the contract's ChatDiffStatus. The fact's seq."""
        return (await self._connection.ask(calls.set_diff_status(chat_id, **status)))["seq"]

    # --- instances

    async def instances(self) -> list[shapes.Instance]:
        """The instances of the server's machine, and of its store. For the admin."""
        return (await self._connection.ask(calls.instances()))["instances"]

    # --- health

    async def healthz(self) -> shapes.Health:
        """Who answers there; needs no token. Raises `InstanceMissing`."""
        return await self._connection.ask(calls.healthz())

    async def readyz(self) -> None:
        """Whether it is ready for work; needs no token. Raises `Unavailable` while it is degraded."""
        await self._connection.ask(calls.readyz())
