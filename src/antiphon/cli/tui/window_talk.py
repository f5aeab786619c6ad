"""A conversation in a window: as that of `antiphon chat`, with widgets in place of a printed screen."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from prompt_toolkit.history import History

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.conversation.actions import Actions
from antiphon.cli.conversation.commands import read_line
from antiphon.cli.conversation.open_chat import OpenChat
from antiphon.cli.conversation.outgoing import Outgoing
from antiphon.cli.conversation.prompt_screen import Below
from antiphon.cli.conversation.talk import Talk
from antiphon.cli.liveness import Liveness
from antiphon.cli.transcript import Kind, Piece
from antiphon.cli.tui.entries import Entry, EntryKind
from antiphon.cli.tui.message_window import MessageWindow
from antiphon.client import AsyncClient
from antiphon.core.events import FactEvent, Resync
from antiphon.errors import AntiphonError

NOTES_MAX = 100
"""Maximum number of lines of commands that are shown among the messages."""

KINDS = {
    Kind.ANSWER: EntryKind.ANSWER,
    Kind.USER: EntryKind.USER,
    Kind.NOTE: EntryKind.NOTE,
    Kind.ERROR: EntryKind.ERROR,
    Kind.TOOL: EntryKind.NOTE,
    Kind.DIFF: EntryKind.DIFF,
    Kind.VERBATIM: EntryKind.PLAIN,
}


class Window:
    """What a conversation uses as its screen. The widgets read `below` and `notes` with each frame; `on_text` puts a
    text into the composer, `on_ring` rings."""

    def __init__(
        self,
        *,
        below: Callable[[], Below],
        on_frame: Callable[[], None],
        on_text: Callable[[str], None],
        read_text: Callable[[], str],
        read_width: Callable[[], int],
        on_ring: Callable[[], None],
        **_unused: Any,
    ) -> None:
        self._below = below
        self._on_frame = on_frame
        self._on_text = on_text
        self._read_text = read_text
        self._read_width = read_width
        self._on_ring = on_ring
        self._after = ""
        self._count = 0
        self.notes: deque[tuple[str, Entry]] = deque(maxlen=NOTES_MAX)
        """What commands have printed: an entry, and the key of the message after which it is shown."""

    @property
    def width(self) -> int:
        return self._read_width()

    @property
    def text(self) -> str:
        return self._read_text()

    def print_after(self, message_id: int) -> None:
        """What is printed from now on is shown below this message."""
        self._after = str(message_id)

    def print(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self._count += 1
            entry = Entry(f"note {self._count}", KINDS[piece.kind], piece.text)
            self.notes.append((self._after, entry))

    def set_text(self, text: str) -> None:
        self._on_text(text)

    def ring(self) -> None:
        self._on_ring()

    def below(self) -> Below:
        """What is shown below the transcript now."""
        self._on_frame()
        return self._below()

    async def run(self) -> None:
        """Nothing to draw: the widgets do."""

    def stop(self) -> None:
        pass


class WindowTalk(Talk):
    """The conversation with one server: one open chat, which can be another one at any time. Run `run` as a task.

    `on_change` is called after each event, `on_open` when another chat is opened. Messages that are not sent when
    another chat is opened are sent all the same.
    """

    welcome = ""
    screen: Window

    def __init__(
        self,
        client: AsyncClient,
        options: ChatOptions,
        *,
        files: AsyncClient,
        make_screen: Callable[..., Window],
        history: History,
        on_change: Callable[[], None],
        on_open: Callable[[], None],
        on_leave: Callable[[], None],
        on_help: Callable[[], None],
    ) -> None:
        self._on_change = on_change
        self._on_open = on_open
        self._on_leave = on_leave
        self._on_help = on_help
        self._finishing: set[asyncio.Task[None]] = set()
        self.window = MessageWindow()
        super().__init__(client, options, files=files, make_screen=make_screen, history=history)
        self.screen.notes.clear()

    @property
    def commands(self) -> Actions:
        return self._actions

    @property
    def is_editing(self) -> bool:
        """Whether the composer holds a text that is not a new message."""
        return self._editing is not None

    @property
    def is_editing_call(self) -> bool:
        return self._editing is not None and self._editing.call is not None

    @property
    def unsent(self) -> int:
        """How many messages are not confirmed yet, also of chats that were left."""
        return len(self.chat.outgoing.texts) + len(self._finishing)

    def open(self, options: ChatOptions) -> None:
        left = getattr(self, "chat", None)
        super().open(options)
        self.window = MessageWindow()
        self.when_busy = "queue"
        if left is not None:
            self.screen.notes.clear()
            if left.outgoing.texts:
                self._finish(left)
        self._on_open()

    def reconnect(self, client: AsyncClient, files: AsyncClient) -> None:
        """The server has another address: continue the same chat there, with the messages that are not sent yet."""
        unsent = list(self.chat.outgoing.items)
        self.chat.outgoing.clear()
        options = msgspec.structs.replace(self.chat.options, chat_id=self.chat.chat_id)
        self.client, self.files, self._liveness = client, files, Liveness(client)
        self.open(options)
        for item in unsent:
            self.chat.outgoing.put(item)

    async def run(self) -> None:
        """Follow the open chat until cancelled."""
        self._following = asyncio.create_task(self._follow(self.chat))
        try:
            while True:
                checked = self._liveness
                checking = asyncio.create_task(checked.run())
                try:
                    while checked is self._liveness:
                        await asyncio.wait({checking}, timeout=1)
                        self._on_change()
                finally:
                    checking.cancel()
        finally:
            for task in {self._following, *self._finishing, *self._tasks}:
                task.cancel()

    def on_line(self, text: str) -> bool:
        if self._editing is None and read_line(text).name == "help":
            self._on_help()  # other keys than those of `antiphon chat`
            return True
        return super().on_line(text)

    def leave(self) -> None:
        self._on_leave()

    def note(self, text: str) -> None:
        super().note(text)
        self._on_change()

    def error(self, text: str) -> None:
        super().error(text)
        self._on_change()

    async def _follow(self, chat: OpenChat) -> None:
        try:
            reason = await chat.run()
        except AntiphonError as error:
            if chat is self.chat:
                self.error(str(error))
            return
        if chat is not self.chat:
            return
        if reason == "revoked":
            self.error("The access to this chat was revoked. Sign in again with another token.")
        else:
            self.open(ChatOptions())
            self.note("(the chat was deleted; this is a new one)")

    def _on_pieces(self, pieces: list[Piece]) -> None:
        self.window.bound(self.chat.transcript.view)
        for piece in pieces:
            if piece.kind is Kind.NOTE and piece.text.startswith("Thought"):
                self.window.thought = piece.text
        self._on_change()

    def _on_fact(self, event: FactEvent | Resync) -> None:
        view = self.chat.transcript.view
        if isinstance(event, Resync):
            self.window.on_resync(view)
        elif event.type == "history_truncated":
            self.window.truncate(event.data["from_message_id"])
        elif event.type == "message_appended":
            self.window.on_message(event.data["message"])
        if view.messages:
            self.screen.print_after(view.messages[-1]["id"])
        super()._on_fact(event)
        if self.chat.chat_id and (isinstance(event, Resync) or event.type in ("turn_ended", "action_required")):
            self.act(self._mark_read(self.chat.chat_id))

    async def _mark_read(self, chat_id: str) -> None:
        await self.client.read_chat(chat_id)

    def _on_frame(self) -> None:
        self.chat.advance()  # the transcript shows the answer itself; what is left is the tail of the status

    def _on_refused(self, item: Outgoing, error: AntiphonError) -> None:
        super()._on_refused(item, error)
        self._on_change()

    def _finish(self, left: OpenChat) -> None:
        """Send what a chat that was left has not sent yet."""

        async def send() -> None:
            sending = asyncio.create_task(left.outgoing.run())
            try:
                await left.outgoing.join()
            finally:
                sending.cancel()

        task = asyncio.create_task(send())
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def load_earlier(self) -> bool:
        """Load the messages before those that are shown. Returns False if there are none."""
        chat, window = self.chat, self.window
        if chat.chat_id is None:
            return False
        return await window.load_earlier(chat.client, chat.chat_id, chat.transcript.view)
