"""The full-screen terminal: servers and their chats on the left, the open chat beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from prompt_toolkit.history import History
from textual import on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer, Input

from antiphon.cli.chat_options import ChatOptions
from antiphon.cli.content_text import answer_text
from antiphon.cli.conversation.commands import Typed
from antiphon.cli.tui.chat_list import ChatList
from antiphon.cli.tui.chat_pane import ChatPane
from antiphon.cli.tui.chat_rows import Listed, Row, RowKind, counts_text, rows_of
from antiphon.cli.tui.commands import Commands, attempt
from antiphon.cli.tui.dialogs import ConfirmDialog
from antiphon.cli.tui.entries import EntryKind
from antiphon.cli.tui.help_text import help_pieces
from antiphon.cli.tui.server import CONNECTING, Server
from antiphon.cli.tui.servers import Servers
from antiphon.cli.tui.themes import DARK, THEMES, ThemeFile, colours_of
from antiphon.cli.tui.unsent_texts import UnsentTexts
from antiphon.cli.tui.window_talk import Window, WindowTalk
from antiphon.client.shapes import Chat

FRAME_S = 1 / 15
"""Minimum time between two frames, in seconds."""
REST = 3
"""A frame that took long is followed by a pause of this many times its duration, so that keys are handled."""
SEARCH_S = 0.15
"""How long to wait for the next character of a search, in seconds."""


class AntiphonTui(App[str]):
    """`servers` are made by the caller before `run_async`. The result is the id of the chat that was open."""

    TITLE = "Antiphon"
    CSS_PATH = "style.tcss"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "new_chat", "New"),
        Binding("ctrl+l", "show_list", "Chats"),
        Binding("ctrl+f", "search", "Search", priority=True),
        Binding("ctrl+o", "result", "Result"),
        Binding("ctrl+t", "thoughts", "Thoughts"),
        Binding("ctrl+g", "servers", "Servers"),
        Binding("f1", "help", "Help"),
        Binding("ctrl+p", "command_palette", "Commands", priority=True),
        Binding("ctrl+q", "leave", "Quit", priority=True),
        Binding("pageup", "scroll_chat(-1)", show=False),
        Binding("pagedown", "scroll_chat(1)", show=False),
        Binding("ctrl+end", "end", show=False),
    ]

    def __init__(
        self,
        *,
        history: History,
        theme_file: ThemeFile,
        theme_name: str = "",
        options: ChatOptions = ChatOptions(),  # noqa: B008 - a value
        which: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        """`options` are those of the first chat; `which` is the chat that is opened on the first server: an id, the
        beginning of one, or `last`."""
        super().__init__()
        self.servers = Servers(on_change=self._mark, on_access=self._on_access, keeps=self._is_used)
        self.server: Server | None = None
        self.frames = 0
        self._talks: dict[str, WindowTalk] = {}
        self._folded: set[str] = set()
        self._found: dict[str, list[Chat]] | None = None
        self._texts = UnsentTexts()
        self._history = history
        self._theme_file = theme_file
        self._theme_name = theme_name
        self._options = options
        self._which = which
        self._clock = clock
        self._commands = Commands(self)
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    def compose(self) -> ComposeResult:
        with Horizontal(id="body"):
            with Vertical(id="side"):
                yield Input(placeholder="Search chats", id="search", compact=True)
                yield ChatList(id="list")
            yield ChatPane(self._history, id="main")
        yield Footer(compact=True, show_command_palette=False)

    async def on_mount(self) -> None:
        for theme in THEMES.values():
            self.register_theme(theme)
        wanted = THEMES[self._theme_name].name if self._theme_name else self._theme_file.read()
        self.theme = wanted if wanted in self.available_themes else DARK.name
        self.pane.composer.focus(scroll_visible=False)
        self.set_interval(1.0, self._mark)
        for work in (self._draw(), self.servers.run()):
            self._tasks.add(asyncio.create_task(work))

    async def on_unmount(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def watch_theme(self, theme_name: str) -> None:
        self.pane.transcript.set_colours(colours_of(self.current_theme))
        self._theme_file.write(theme_name)

    # --- parts

    @property
    def pane(self) -> ChatPane:
        return self.screen_stack[0].query_one(ChatPane)

    @property
    def chat_list(self) -> ChatList:
        return self.screen_stack[0].query_one(ChatList)

    @property
    def talk(self) -> WindowTalk | None:
        """The open conversation."""
        return self._talks.get(self.server.key) if self.server is not None else None

    def server_of(self, key: str) -> Server | None:
        return next((server for server in self.servers.items if server.key == key), None)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        for command in self._commands.all():
            yield SystemCommand(command.title, command.summary, command.run)
        yield from super().get_system_commands(screen)

    # --- frames

    def _mark(self) -> None:
        """Draw with the next frame."""
        self._changed.set()

    async def _draw(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            begun = time.perf_counter()
            await self._draw_frame()
            await asyncio.sleep(max(FRAME_S, REST * (time.perf_counter() - begun)))

    async def _draw_frame(self) -> None:
        self.frames += 1
        self._open_first()
        if self.server is None and self.servers.items:
            self.pane.show_problem(self.servers.items[0].problem)
        self.chat_list.show(rows_of(map(self._listed, self.servers.items), self._clock()), self._current_key())
        await self.pane.draw()

    def _listed(self, server: Server) -> Listed:
        found = self._found
        counts = counts_text(
            chats=len(server.chats), running=server.running, waiting=server.waiting, unread=server.unread
        )
        return Listed(
            server.key,
            server.name,
            server.problem,
            list(server.chats.values()),
            archived=None if server.archived is None else list(server.archived.values()),
            found=None if found is None else found.get(server.key, []),
            has_more=server.has_more,
            is_open=server.key not in self._folded,
            counts=counts,
        )

    def _current_key(self) -> str:
        talk = self.talk
        if talk is None or self.server is None:
            return ""
        return f"{self.server.key} {talk.chat.chat_id}" if talk.chat.chat_id else self.server.key

    # --- servers and chats

    def _is_used(self, server: Server) -> bool:
        talk = self._talks.get(server.key)
        return server is self.server or (talk is not None and talk.unsent > 0)

    def _on_access(self, server: Server) -> None:
        """A server was found, or has another address now."""
        assert server.client is not None
        assert server.http is not None
        talk = self._talks.get(server.key)
        if talk is not None:
            talk.reconnect(server.client, server.http)
            return
        pane = self.pane
        talk = WindowTalk(
            server.client,
            ChatOptions(rings=self._options.rings),
            files=server.http,
            history=self._history,
            make_screen=partial(
                Window,
                on_text=pane.composer.set_text,
                read_text=lambda: pane.composer.text,
                read_width=lambda: pane.transcript.size.width - 2,
                on_ring=self.bell,
            ),
            on_change=self._mark,
            on_open=lambda: self._on_opened(server),
            on_leave=self.action_leave,
            on_help=self.action_help,
        )
        self._talks[server.key] = talk
        self._tasks.add(asyncio.create_task(talk.run()))
        if self.server is not None:
            self._folded.add(server.key)
        self._open_first()

    def _open_first(self) -> None:
        """Open the first server of the list that responds, as soon as those before it have been tried."""
        for server in self.servers.items if self.server is None else ():
            talk = self._talks.get(server.key)
            if talk is None and server.problem == CONNECTING:
                return
            if talk is not None:
                self._folded |= {other.key for other in self.servers.items}
                self.open_server(server)
                talk.open(self._options)
                if self._which:
                    talk.commands.run(Typed("open", self._which))
                return

    def open_server(self, server: Server | None) -> None:
        """Show the chat that is open on a server."""
        if server is None:
            return
        talk = self._talks.get(server.key)
        if talk is None:
            self.notify(f"{server.name}: {server.problem}.", severity="warning", markup=False)
            return
        self.server = server
        self._folded.discard(server.key)
        self.pane.attach(talk, server.name)
        self._swap_text()

    def _on_opened(self, server: Server) -> None:
        if server is self.server:
            self.pane.on_opened()
            self._swap_text()

    def _swap_text(self) -> None:
        """Keep the unsent text of the chat that is left, and show that of the open one."""
        talk, composer = self.talk, self.pane.composer
        if talk is None or self.server is None:
            return
        text = self._texts.swap(self.server.key, talk.chat, "" if talk.is_editing else composer.text)
        if text is not None:
            composer.set_text(text)
        self._mark()

    def open_chat(self, server: Server, chat_id: str | None) -> None:
        """Open a chat; None: a new one."""
        self.open_server(server)
        talk = self.talk
        if talk is not None and server is self.server and (talk.chat.chat_id != chat_id or chat_id is None):
            talk.open(ChatOptions(chat_id=chat_id))
        self.hide_list()

    @on(ChatList.RowChosen)
    async def _on_row(self, event: ChatList.RowChosen) -> None:
        row: Row = event.row
        server = self.server_of(row.server_key)
        if server is None:
            return
        match row.kind:
            case RowKind.CHAT:
                self.open_chat(server, row.chat_id)
            case RowKind.MORE:
                self.run_command(server.load_more)
            case _:
                self._folded ^= {server.key}
                self._mark()

    # --- the search

    @on(Input.Changed, "#search")
    def _on_search(self, event: Input.Changed) -> None:
        self.run_worker(self._search(event.value.strip()), group="search", exclusive=True)

    async def _search(self, text: str) -> None:
        if not text:
            self._found = None
            self._mark()
            return
        await asyncio.sleep(SEARCH_S)
        servers = list(self.servers.items)
        found = await asyncio.gather(*(server.search(text) for server in servers))
        self._found = {server.key: chats for server, chats in zip(servers, found, strict=True)}
        self._mark()

    @on(Input.Submitted, "#search")
    def _on_search_submitted(self) -> None:
        for row in self.chat_list.rows:
            if row.kind is RowKind.CHAT:
                self.chat_list.highlight_key(row.key)
                break
        self.chat_list.focus(scroll_visible=False)

    # --- actions

    def run_command(self, command: Callable[[], Awaitable[None]]) -> None:
        """Run a command that may wait for dialogs and the server; its error is shown."""
        self.run_worker(attempt(self, command), exit_on_error=False)

    def action_new_chat(self) -> None:
        if self.server is not None:
            self.open_chat(self.server, None)

    def action_show_list(self) -> None:
        """Show the list, or leave it."""
        if self.chat_list.has_focus:
            self.hide_list()
        else:
            self.screen_stack[0].add_class("-list")
            self.chat_list.focus(scroll_visible=False)

    def hide_list(self) -> None:
        self.screen_stack[0].remove_class("-list")
        self.pane.composer.focus(scroll_visible=False)

    def action_search(self) -> None:
        self.screen_stack[0].add_class("-list")
        self.screen_stack[0].query_one("#search", Input).focus(scroll_visible=False)

    def key_escape(self) -> None:
        """Esc outside of the composer: back to it."""
        search = self.screen_stack[0].query_one("#search", Input)
        if search.value:
            search.value = ""
        self.hide_list()

    def action_servers(self) -> None:
        self.run_command(self._commands.servers)

    def action_result(self) -> None:
        if not self.pane.transcript.toggle_last({EntryKind.TOOL}):
            self.notify("No tool was called in this chat.")

    def action_thoughts(self) -> None:
        if not self.pane.transcript.toggle_last({EntryKind.THOUGHT}):
            self.notify("The model has shown no thoughts in this chat.")

    def action_help(self) -> None:
        if self.talk is not None:
            self.talk.screen.print(help_pieces())
            self.pane.transcript.action_jump_to_end()
            self._mark()

    def action_copy_answer(self) -> None:
        messages = self.talk.chat.transcript.view.messages if self.talk is not None else []
        for message in reversed(messages):
            if message["role"] == "assistant" and (text := answer_text(message.get("content", []))):
                self.copy_to_clipboard(text)
                self.notify("The last answer is on the clipboard.")
                return
        self.notify("There is no answer yet.")

    def action_switch_theme(self) -> None:
        self.theme = THEMES["light" if self.current_theme.dark else "dark"].name

    def action_scroll_chat(self, pages: int) -> None:
        if pages < 0:
            self.pane.transcript.action_page_up()
        else:
            self.pane.transcript.action_page_down()

    def action_end(self) -> None:
        self.pane.transcript.action_jump_to_end()

    def action_leave(self) -> None:
        self.run_command(self._leave)

    async def _leave(self) -> None:
        unsent = sum(talk.unsent for talk in self._talks.values())
        question = f"{unsent} not sent yet. Leave without sending?"
        if not unsent or await self.push_screen_wait(ConfirmDialog(question, "Leave")):
            talk = self.talk
            self.exit((talk.chat.chat_id if talk is not None else None) or "")
