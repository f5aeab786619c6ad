"""The open chat: its transcript, what it asks, the queue, the composer and the status."""

from __future__ import annotations

from typing import Any

from prompt_toolkit.history import History
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from antiphon.cli.cells import fit
from antiphon.cli.clean import clean_line
from antiphon.cli.content_text import content_text
from antiphon.cli.conversation import asking
from antiphon.cli.conversation.status_line import BUSY_WORDS, status_text
from antiphon.cli.tui.call_panel import CallPanel
from antiphon.cli.tui.chat_entries import ChatEntries
from antiphon.cli.tui.chat_rows import UNTITLED
from antiphon.cli.tui.composer import Composer
from antiphon.cli.tui.queue_panel import QueuePanel
from antiphon.cli.tui.transcript_view import TranscriptView
from antiphon.cli.tui.window_talk import WindowTalk
from antiphon.errors import AntiphonError

NOT_CONNECTED = "Not connected"


class ChatPane(Vertical):
    """Call `attach` with a conversation and the name of its server, and `draw` with each frame."""

    def __init__(self, history: History, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id)
        self._history = history
        self._entries = ChatEntries()
        self._talk: WindowTalk | None = None
        self._server_name = ""
        self._problem = ""
        self._is_other = True
        """Whether another chat was opened since the last frame."""
        self._queued_edit: int | None = None
        self._denied: dict[str, Any] | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield TranscriptView(id="transcript")
        yield Static("New text below · End shows it", id="new-below")
        yield CallPanel(id="calls")
        yield QueuePanel(id="queue")
        yield Static(id="activity", markup=False)
        yield Composer(self._history, id="composer")
        yield Static(id="status", markup=False)

    @property
    def composer(self) -> Composer:
        return self.query_one(Composer)

    @property
    def transcript(self) -> TranscriptView:
        return self.query_one(TranscriptView)

    @property
    def talk(self) -> WindowTalk | None:
        return self._talk

    def attach(self, talk: WindowTalk, server_name: str) -> None:
        self._talk, self._server_name = talk, server_name
        self.on_opened()

    def on_opened(self) -> None:
        """Another chat is shown from the next frame on."""
        self._is_other = True
        self._entries = ChatEntries()
        self._queued_edit = self._denied = None

    def show_problem(self, problem: str) -> None:
        """Say why no server can be used; nothing: one can."""
        self._problem = problem

    # --- frames

    async def draw(self) -> None:
        talk = self._talk
        if talk is None:
            self.query_one("#title", Static).update(NOT_CONNECTED)
            self.query_one("#status", Static).update(fit(self._problem, self.size.width - 2))
            return
        below, chat = talk.screen.below(), talk.chat
        entries = self._entries.read(chat.transcript, talk.window, talk.screen.notes)
        self.transcript.show(entries, from_end=self._is_other)
        self._is_other = False
        view = chat.transcript.view
        title = clean_line(view.title) or ("New chat" if chat.chat_id is None else UNTITLED)
        self._update("title", fit(title, self.size.width - 2))
        self._update("activity", f"● {below.activity}…" if below.activity else "")
        self.query_one("#activity").display = bool(below.activity)
        self.query_one("#new-below").display = self.transcript.has_new_below
        self.query_one(QueuePanel).show(view.queued_messages, below.waiting)
        await self.query_one(CallPanel).show(talk.open_calls.asked, below.question, is_editing=talk.is_editing_call)
        room = self.size.width - 2 - len(self._server_name) - 3
        status = status_text(below.status, max(room, 20))
        self._update("status", fit(f"{status} · {self._server_name}", self.size.width - 2))
        self._draw_composer(talk)

    def _draw_composer(self, talk: WindowTalk) -> None:
        title, subtitle = "Message", "Enter sends · Ctrl+J new line"
        if talk.is_editing_call:
            title, subtitle = "Arguments", "Enter allows the call with them · Esc does not"
        elif talk.is_editing or self._queued_edit is not None:
            title, subtitle = "Edit", "Enter replaces the message · Esc does not"
        elif self._denied is not None:
            title, subtitle = "Why not? (may stay empty)", "Enter denies the call · Esc does not"
        elif talk.chat.transcript.is_busy and not talk.open_calls.asked:
            subtitle = f"Enter: {BUSY_WORDS[talk.when_busy]} · Shift+Tab changes it · Esc stops"
        composer = self.composer
        if (composer.border_title, composer.border_subtitle) != (title, subtitle):
            composer.border_title, composer.border_subtitle = title, subtitle

    def _update(self, name: str, text: str) -> None:
        shown = self.query_one(f"#{name}", Static)
        if shown.content != text:
            shown.update(text)

    # --- the person

    def on_composer_submitted(self, event: Composer.Submitted) -> None:
        event.stop()
        talk, text = self._talk, event.text
        if talk is None:
            self.notify("There is no connection yet. The text stays here.", severity="warning")
            return
        if self._denied is not None:
            self._deny(talk, text)
        elif self._queued_edit is not None:
            chat_id, queued_id = talk.chat.chat_id, self._queued_edit
            assert chat_id is not None, "a chat with a queue has an id"
            self._queued_edit = None
            talk.act(self._change_queued(talk, chat_id, queued_id, text))
            self.composer.accept()
        elif talk.on_line(text) and self.composer.text == text:  # a command may have put another text there
            self.composer.accept()
        self.transcript.action_jump_to_end()

    async def _change_queued(self, talk: WindowTalk, chat_id: str, queued_id: int, text: str) -> None:
        try:
            await talk.client.edit_queued(chat_id, queued_id, text)
        except AntiphonError:
            if not self.composer.text:
                self.composer.set_text(text)
            raise

    def on_composer_stopped(self, event: Composer.Stopped) -> None:
        event.stop()
        if self._queued_edit is not None or self._denied is not None:
            self._queued_edit = self._denied = None
            self.composer.set_text("")
        elif self._talk is not None:
            self._talk.on_stop()

    def on_composer_cycled(self, event: Composer.Cycled) -> None:
        event.stop()
        talk = self._talk
        if talk is not None and talk.chat.transcript.is_busy and not talk.open_calls.asked:
            talk.on_cycle()
        else:
            self.screen.focus_previous()

    def on_call_panel_decided(self, event: CallPanel.Decided) -> None:
        event.stop()
        if self._talk is not None:
            self._talk.decide(event.call, event.decision)
        self.composer.focus()

    def on_call_panel_deny_wanted(self, event: CallPanel.DenyWanted) -> None:
        event.stop()
        self._denied = event.call
        self.composer.focus()

    def _deny(self, talk: WindowTalk, reason: str) -> None:
        call, self._denied = self._denied, None
        assert call is not None
        talk.decide(call, asking.Deny(reason=reason.strip()))
        self.composer.accept()

    def on_queue_panel_changed(self, event: QueuePanel.Changed) -> None:
        event.stop()
        talk = self._talk
        if talk is None or talk.chat.chat_id is None:
            return
        chat_id, queued_id, client = talk.chat.chat_id, event.item["id"], talk.client
        match event.what:
            case "edit":
                self._queued_edit = queued_id
                self.composer.set_text(content_text(event.item["content"]))
                self.composer.focus()
            case "delete":
                talk.act(_ignore(client.delete_queued(chat_id, queued_id)))
            case "next":
                talk.act(_ignore(client.promote_queued(chat_id, queued_id)))
            case _:
                talk.act(_ignore(client.move_queued(chat_id, queued_id, before=event.before)))

    def on_transcript_view_earlier_wanted(self, event: TranscriptView.EarlierWanted) -> None:
        event.stop()
        if self._talk is not None and self._talk.window.has_earlier(self._talk.chat.transcript.view):
            self.run_worker(self._load_earlier(self._talk), group="earlier", exit_on_error=False)

    async def _load_earlier(self, talk: WindowTalk) -> None:
        if talk.window.is_loading:
            return
        try:
            if await talk.load_earlier():
                await self.draw()
        except AntiphonError as error:
            talk.error(f"Earlier messages could not be loaded: {error}")


async def _ignore(request: Any) -> None:
    await request
