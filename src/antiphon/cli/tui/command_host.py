"""What the commands of the palette need of the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from antiphon.cli.tui.chat_list import ChatList
from antiphon.cli.tui.server import Server
from antiphon.cli.tui.servers import Servers
from antiphon.cli.tui.window_talk import WindowTalk


class CommandHost(Protocol):
    """The application, as commands see it."""

    servers: Servers
    server: Server | None

    @property
    def talk(self) -> WindowTalk | None: ...

    @property
    def chat_list(self) -> ChatList: ...

    @property
    def notify(self) -> Callable[..., None]: ...

    @property
    def push_screen_wait(self) -> Callable[..., Any]: ...

    def server_of(self, key: str) -> Server | None: ...

    def open_server(self, server: Server | None) -> None: ...

    def run_command(self, command: Callable[[], Awaitable[None]]) -> None: ...

    def action_new_chat(self) -> None: ...

    def action_show_list(self) -> None: ...

    def action_search(self) -> None: ...

    def action_copy_answer(self) -> None: ...

    def action_thoughts(self) -> None: ...

    def action_result(self) -> None: ...

    def action_switch_theme(self) -> None: ...

    def action_help(self) -> None: ...
