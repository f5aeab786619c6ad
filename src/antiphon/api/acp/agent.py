"""The methods of the protocol: sessions are chats of one owner on an instance."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from antiphon.api.acp.connection import Call, Connection, Failed, Streams
from antiphon.api.acp.limits import AcpLimits
from antiphon.api.acp.session import Session
from antiphon.client import AsyncClient
from antiphon.core.values import Value
from antiphon.errors import Invalid, NotFound, TooMany, Unavailable
from antiphon.version import __version__
from antiphon.wire.acp import settings, shapes
from antiphon.wire.acp.blocks import user_content
from antiphon.wire.jsonrpc import METHOD_NOT_FOUND

Json = dict[str, Any]

CWD = "cwd"
"""The label of a chat with the directory in which an editor opened it."""
LABEL_MAX = 256
"""Maximum length of a label's value, in characters."""
UNKNOWN_CWD = "/"
"""The directory of a chat that no editor has created."""

CAPABILITIES: Json = {
    "loadSession": True,
    "promptCapabilities": {"image": True, "audio": True, "embeddedContext": True},
    "mcpCapabilities": {"http": False, "sse": False},
    "sessionCapabilities": {"list": {}, "resume": {}, "close": {}, "delete": {}},
}


class Method(Value, gc=True):
    """A method: the shape of its parameters, and its handler."""

    shape: type[Any]
    handle: Callable[[Any, Call], Awaitable[Any]]


class Agent:
    """Serves one editor over two byte streams."""

    def __init__(
        self,
        client: AsyncClient,
        streams: Streams,
        *,
        configuration: AsyncClient,
        report: Callable[[str], None],
        limits: AcpLimits = AcpLimits(),  # noqa: B008 - a value
    ) -> None:
        """`configuration` reads the models, which is only available over HTTP; `client` may use another protocol.
        `report` gets sentences for the person at the editor: what the editor asked for, and has no effect."""
        self._client = client
        self._configuration = configuration
        self._report = report
        self._limits = limits
        self._connection = Connection(streams, self._handle, limits)
        self._capabilities = shapes.Capabilities()
        self._sessions: dict[str, Session] = {}
        self._sending: set[asyncio.Future[Any]] = set()
        """The messages that the instance has not accepted yet."""
        self._methods: dict[str, Method] = {
            "initialize": Method(shape=shapes.Initialize, handle=self._initialize),
            "authenticate": Method(shape=shapes.Params, handle=self._authenticate),
            "session/new": Method(shape=shapes.NewSession, handle=self._new),
            "session/load": Method(shape=shapes.OpenSession, handle=partial(self._open, replay=True)),
            "session/resume": Method(shape=shapes.OpenSession, handle=partial(self._open, replay=False)),
            "session/list": Method(shape=shapes.ListSessions, handle=self._list),
            "session/prompt": Method(shape=shapes.Prompt, handle=self._prompt),
            "session/cancel": Method(shape=shapes.Session, handle=self._cancel),
            "session/set_mode": Method(shape=shapes.SetMode, handle=self._set_mode),
            "session/set_config_option": Method(shape=shapes.SetConfigOption, handle=self._set_option),
            "session/close": Method(shape=shapes.Session, handle=self._close),
            "session/delete": Method(shape=shapes.Session, handle=self._delete),
        }

    async def run(self) -> None:
        """Until the end of the input. Turns go on: the end of an editor is not a stop."""
        await self._connection.run(self._send_rest)

    async def _send_rest(self) -> None:
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=self._limits.drain_s)
            for one in late:
                one.cancel()

    async def _handle(self, call: Call) -> Any:
        method = self._methods.get(call.method)
        if method is None:
            raise Failed(METHOD_NOT_FOUND, f"there is no method {call.method[:80]!r}")
        return await method.handle(shapes.params_of(call.params, method.shape), call)

    # --- the connection

    async def _initialize(self, params: shapes.Initialize, call: Call) -> Json:
        self._capabilities = params.client_capabilities or shapes.Capabilities()
        return {
            "protocolVersion": shapes.PROTOCOL_VERSION,
            "agentCapabilities": CAPABILITIES,
            "agentInfo": {"name": "antiphon", "title": "Antiphon", "version": __version__},
            "authMethods": [],
        }

    async def _authenticate(self, params: shapes.Params, call: Call) -> Json:
        raise Invalid("methodId", "no method is offered: the command has the token of its instance")

    # --- sessions

    async def _new(self, params: shapes.NewSession, call: Call) -> Json:
        self._check_room()
        is_label = 0 < len(params.cwd) <= LABEL_MAX
        session = self._made(str(uuid.uuid4()), labels={CWD: params.cwd} if is_label else {})
        shown = {"sessionId": session.chat_id, **await self._settings(session)}
        warnings = await self._warnings(params)
        if not is_label:
            warnings.append(f"The directory is not stored: its name has more than {LABEL_MAX} characters.")
        call.after_answer(lambda: self._start(session, warnings))
        return shown

    async def _open(self, params: shapes.OpenSession, call: Call, *, replay: bool) -> Json:
        if (open_session := self._sessions.pop(params.session_id, None)) is not None:
            open_session.close()  # the editor has lost what it had
        self._check_room()
        session = self._made(params.session_id)
        try:
            await session.open(replay=replay)
        except BaseException:
            if self._sessions.get(params.session_id) is session:
                del self._sessions[params.session_id]
            session.close()
            raise
        shown = await self._settings(session)
        warnings = await self._warnings(params)
        call.after_answer(lambda: self._start(session, warnings))
        return shown

    def _made(self, chat_id: str, labels: dict[str, str] | None = None) -> Session:
        session = Session(chat_id, self._client, self._connection, self._capabilities, self._limits, labels=labels)
        session.on_settings_changed(lambda: self._announce(session))
        self._sessions[chat_id] = session
        return session

    def _start(self, session: Session, warnings: list[str]) -> None:
        session.start()
        if warnings:
            self._connection.spawn(self._warn(session, warnings))

    def _check_room(self) -> None:
        if len(self._sessions) >= self._limits.sessions_max:
            raise TooMany("sessions", self._limits.sessions_max)

    async def _warn(self, session: Session, warnings: list[str]) -> None:
        for warning in warnings:
            self._report(warning)
            await session.say(warning)

    async def _warnings(self, params: shapes.NewSession | shapes.OpenSession) -> list[str]:
        """What the editor gave that has no effect. Tools run on the instance, with its own configuration."""
        found = []
        if params.mcp_servers:
            configured = {server["name"] for server in await self._client.mcp_servers()}
            names = [str(server.get("name", ""))[:80] for server in params.mcp_servers]
            missing = ", ".join(name for name in names if name not in configured)
            if missing:
                found.append(
                    f"These MCP servers of the editor are not used: {missing}. Tools run on the Antiphon instance; "
                    "configure the servers there."
                )
        if params.additional_directories:
            found.append("Additional directories have no effect: tools run on the Antiphon instance.")
        return found

    async def _list(self, params: shapes.ListSessions, call: Call) -> Json:
        label = f"{CWD}:{params.cwd}" if params.cwd else ""
        page = await self._client.chats(label=label, after=params.cursor or None)
        shown = [
            {
                "sessionId": chat["id"],
                "cwd": chat["labels"].get(CWD, UNKNOWN_CWD),
                "title": chat["title"] or None,
                "updatedAt": chat["updated_at"],
            }
            for chat in page["chats"]
        ]
        return {"sessions": shown} | ({"nextCursor": page["next"]} if page["next"] else {})

    async def _close(self, params: shapes.Session, call: Call) -> Json:
        session = self._session(params.session_id)
        if session.prompts.names():
            await session.cancel()
        del self._sessions[session.chat_id]
        session.close()
        return {}

    async def _delete(self, params: shapes.Session, call: Call) -> Json:
        session = self._sessions.pop(params.session_id, None)
        if session is not None:
            session.close()
        if session is None or session.is_stored:
            await self._client.delete_chat(params.session_id)
        return {}

    def _session(self, session_id: str) -> Session:
        found = self._sessions.get(session_id)
        if found is None:
            raise NotFound("session")
        return found

    # --- prompts

    async def _prompt(self, params: shapes.Prompt, call: Call) -> Json:
        session, content = self._session(params.session_id), user_content(params.prompt)
        before = set(session.prompts.names())

        def stop() -> None:
            for name in session.prompts.names():
                if name not in before:
                    self._connection.spawn(session.prompts.stop(name))

        call.on_cancel(stop)
        return (await session.prompt(content, self._sending)).result()

    async def _cancel(self, params: shapes.Session, call: Call) -> None:
        await self._session(params.session_id).cancel()

    # --- settings

    async def _settings(self, session: Session) -> Json:
        return {"modes": settings.modes(session.when_busy), "configOptions": await self._options(session)}

    async def _options(self, session: Session) -> list[Json]:
        try:
            configs = await self._configuration.model_configs()
        except Unavailable:  # it is restarting, or has another address; the session works without the list
            configs = []
        models = settings.model_names(configs, session.state.model)
        return settings.config_options(models, model=session.state.model, when_busy=session.when_busy)

    def _changed(self, session: Session) -> None:
        self._connection.spawn(self._announce(session))

    async def _announce(self, session: Session) -> None:
        await session.update({"sessionUpdate": "config_option_update", "configOptions": await self._options(session)})

    async def _set_mode(self, params: shapes.SetMode, call: Call) -> Json:
        session = self._session(params.session_id)
        session.set_when_busy(params.mode_id)
        call.after_answer(lambda: self._changed(session))
        return {}

    async def _set_option(self, params: shapes.SetConfigOption, call: Call) -> Json:
        session = self._session(params.session_id)
        if not isinstance(params.value, str):
            raise Invalid("value", "a string")
        if params.config_id == settings.MODEL:
            await session.set_model("" if params.value == settings.DEFAULT_MODEL else params.value)
        elif params.config_id == settings.WHEN_BUSY:
            session.set_when_busy(params.value)
            mode = {"sessionUpdate": "current_mode_update", "currentModeId": params.value}
            await session.update(mode)
        else:
            raise Invalid("configId", f"{settings.MODEL} or {settings.WHEN_BUSY}")
        return {"configOptions": await self._options(session)}
