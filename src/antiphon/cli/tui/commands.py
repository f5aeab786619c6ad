"""The commands of the palette, and what they do with chats and servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from antiphon.cli.clean import clean_line
from antiphon.cli.conversation.commands import Typed
from antiphon.cli.instance import InstanceAccess
from antiphon.cli.tui.chat_rows import UNTITLED, RowKind
from antiphon.cli.tui.command_host import CommandHost
from antiphon.cli.tui.dialogs import ChoiceDialog, ConfirmDialog, Item, TextDialog
from antiphon.cli.tui.server import Server
from antiphon.client.shapes import Chat
from antiphon.errors import AntiphonError, NotFound


class Command(NamedTuple):
    """A command of the palette."""

    title: str
    summary: str
    run: Callable[[], Any]


class Commands:
    """`all` are the commands; each is a worker, so it may wait for dialogs and the server."""

    def __init__(self, app: CommandHost) -> None:
        self._app = app

    def all(self) -> list[Command]:
        typed, run = self._typed, self._app.run_command
        return [
            Command("New chat", "Begin another chat (Ctrl+N)", self._app.action_new_chat),
            Command("Chats", "Show the list (Ctrl+L)", self._app.action_show_list),
            Command("Search chats", "By title, on all servers (Ctrl+F)", self._app.action_search),
            Command("Servers", "What runs on this machine and its stores (Ctrl+G)", lambda: run(self.servers)),
            Command("Model", "Choose the model that answers from now on", lambda: run(self.model)),
            Command("Try again", "Have the last question answered again", lambda: typed("retry")),
            Command("Edit last question", "What follows it is replaced", lambda: typed("edit")),
            Command("Stop", "Stop the answer (Esc)", lambda: typed("stop")),
            Command("Stop everything", "Stop, and remove what waits (Esc twice)", lambda: typed("stop", "all")),
            Command("Rename chat", "Give it another title", lambda: run(self.rename)),
            Command("Pin or unpin chat", "Pinned chats are listed first", lambda: run(self.pin)),
            Command("Archive chat", "Or list an archived one again", lambda: run(self.archive)),
            Command("Show archived chats", "Or hide them again", lambda: run(self.show_archived)),
            Command("Delete chat", "And its messages, after a question", lambda: run(self.delete)),
            Command("Fork chat", "Continue in a new chat with the same history", lambda: typed("fork")),
            Command("Export chat", "Write it to a Markdown or JSON file", lambda: run(self.export)),
            Command("Share chat", "Make an address at which others can read it", lambda: typed("share")),
            Command("Withdraw shared addresses", "Of this chat", lambda: typed("share", "off")),
            Command("Copy last answer", "To the clipboard", self._app.action_copy_answer),
            Command("Thoughts", "Unfold or fold the last ones (Ctrl+T)", self._app.action_thoughts),
            Command("Tool result", "Unfold or fold the last one (Ctrl+O)", self._app.action_result),
            Command("Light or dark", "Switch the theme", self._app.action_switch_theme),
            Command("Help", "The keys (F1)", self._app.action_help),
        ]

    def _typed(self, name: str, argument: str = "") -> None:
        """Carry out a command of the conversation."""
        talk = self._app.talk
        if talk is None:
            self._app.notify("There is no connection yet.", severity="warning")
        else:
            talk.commands.run(Typed(name, argument))

    # --- the chosen chat

    async def rename(self) -> None:
        server, chat = await self._chosen()
        title = await self._app.push_screen_wait(TextDialog("The title of the chat", chat["title"]))
        if title:
            await _client(server).update_chat(chat["id"], title=title)

    async def pin(self) -> None:
        server, chat = await self._chosen()
        last = max((other["pin_order"] for other in server.chats.values()), default=0)
        await _client(server).update_chat(chat["id"], pin_order=0 if chat["pin_order"] else last + 1)
        await server.refresh()

    async def archive(self) -> None:
        server, chat = await self._chosen()
        await _client(server).update_chat(chat["id"], archived=not chat["archived"])
        await server.refresh()
        title = clean_line(chat["title"]) or UNTITLED
        self._app.notify(f"{title}: {'listed again' if chat['archived'] else 'archived'}.", markup=False)

    async def show_archived(self) -> None:
        for server in self._app.servers.items:
            if server.client is not None:
                await server.show_archived(is_shown=server.archived is None)

    async def delete(self) -> None:
        server, chat = await self._chosen()
        title = clean_line(chat["title"]) or UNTITLED
        question = f"Delete “{title}” and its messages? This cannot be undone."
        if await self._app.push_screen_wait(ConfirmDialog(question, "Delete")):
            await _client(server).delete_chat(chat["id"])
            await server.refresh()

    async def _chosen(self) -> tuple[Server, Chat]:
        """The highlighted chat of the list if it has the focus, else the open one. Raises `NotFound`."""
        chat_list, server = self._app.chat_list, self._app.server
        row = chat_list.highlighted_row
        if chat_list.has_focus and row is not None and row.kind is RowKind.CHAT:
            server, chat_id = self._app.server_of(row.server_key), row.chat_id
        else:
            talk = self._app.talk
            chat_id = (talk.chat.chat_id if talk is not None else None) or ""
        if server is None or not chat_id:
            raise NotFound("chat: there is none yet, type a message first")
        return server, await _client(server).chat(chat_id)

    # --- the open chat

    async def model(self) -> None:
        talk = self._app.talk
        if talk is None:
            return
        choices = await talk.commands.model_choices()
        items = [Item(choice.text, choice.text, choice.meta) for choice in choices]
        label = "The model that answers from now on" if items else "Type the name of a model"
        if name := await self._app.push_screen_wait(ChoiceDialog(label, items, takes_any=True)):
            talk.commands.run(Typed("model", name))

    async def export(self) -> None:
        talk = self._app.talk
        if talk is None or talk.chat.chat_id is None:
            raise NotFound("chat: there is none yet, type a message first")
        default = f"chat-{talk.chat.chat_id[:8]}.md"
        if name := await self._app.push_screen_wait(TextDialog("The file to write: .md or .json", default)):
            talk.commands.run(Typed("export", name))

    # --- servers

    async def servers(self) -> None:
        """Everything that runs on this machine and on its stores; the chosen one is attached to."""
        from antiphon.cli.ps import collect, state_of

        found = {item["instance_id"]: item for item in await collect()}
        listed = [Item(server.key, server.name, server.problem or "connected") for server in self._app.servers.items]
        listed += [
            Item(
                f"instance {key}", str(item["data"] or item.get("host") or key), _instance_words(item, state_of(item))
            )
            for key, item in found.items()
        ]
        chosen = await self._app.push_screen_wait(ChoiceDialog("Servers, and the instances behind them", listed))
        if not chosen:
            return
        if chosen.startswith("instance "):
            self._attach(found[chosen.removeprefix("instance ")])
        else:
            self._app.open_server(self._app.server_of(chosen))

    def _attach(self, item: dict[str, Any]) -> None:
        """Attach to an instance: by its data directory, or at its address if it is a replica of an open store."""
        for server in self._app.servers.items:
            if item["data"] and server.key == item["data"] and item["role"] != "standby":
                self._app.open_server(server)
                return
        access = self._app.server.access if self._app.server is not None else None
        if access is None or item["role"] != "replica":
            self._app.notify("A standby answers when the instance before it ends; it needs no connection of its own.")
            return
        url = item["http_url"]
        added = self._app.servers.add_access(url, clean_line(url), InstanceAccess(url=url, token=access.token))
        self._app.open_server(added)


def _instance_words(item: dict[str, Any], state: str) -> str:
    return f"{item['role']} · {state} · process {item['pid']}"


def _client(server: Server) -> Any:
    if server.client is None:
        raise NotFound("connection to this server")
    return server.client


async def attempt(app: CommandHost, command: Callable[[], Awaitable[None]]) -> None:
    """Run a command; its error is shown."""
    try:
        await command()
    except AntiphonError as error:
        app.notify(str(error), severity="error", markup=False)
