"""A server made from the reference document of the instance protocol alone: its nine methods, its topics, and nothing
of ours. A request's `id` is a string to it; any other request is answered with -32700 and the id `""`."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any, Self

import zmq

STARTED_AT = "2026-05-05T21:59:55.123456789Z"
POLL_MS = 20
METHODS = (
    "state.sync",
    "session.list",
    "session.get",
    "session.activate",
    "message.send",
    "session.interrupt",
    "instance.ping",
    "instance.info",
    "message.list",
)


class Failure(Exception):
    """An error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ReferenceServer:
    """Runs in a thread of its own. `without` names methods that this release does not have yet. `say` publishes.
    One request for each method in `unanswered` gets no answer."""

    def __init__(
        self,
        *,
        without: tuple[str, ...] = (),
        project_id: str = "/home/user/project",
        endpoints: tuple[str, str] = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"),
    ) -> None:
        self.instance_id = str(uuid.uuid4())
        self.project_id = project_id
        self.sessions: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.active = ""
        self.requests: list[dict[str, Any]] = []
        self.interrupted: list[str] = []
        self.subscriptions = 0
        self.on_send: Callable[[str, str], None] = lambda session_id, content: None
        self.unanswered: list[str] = []
        self.methods: dict[str, Callable[[Any], Any]] = {
            name: getattr(self, "_" + name.replace(".", "_")) for name in METHODS if name not in without
        }
        self._outgoing: list[tuple[str, str, Any]] = []
        self._lock = threading.Lock()
        self._is_stopped = threading.Event()
        self._context = zmq.Context()
        self._pub = self._context.socket(zmq.XPUB)
        self._rpc = self._context.socket(zmq.ROUTER)
        for socket, endpoint in zip((self._pub, self._rpc), endpoints, strict=True):
            socket.bind(endpoint)
        self.pub_endpoint = self._pub.getsockopt_string(zmq.LAST_ENDPOINT)
        self.rpc_endpoint = self._rpc.getsockopt_string(zmq.LAST_ENDPOINT)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_stopped.set()
        self._thread.join()
        self._pub.close(linger=0)
        self._rpc.close(linger=0)
        self._context.term()

    # --- what it does

    def add_session(self, title: str) -> str:
        session_id = str(uuid.uuid4())
        self.sessions[session_id] = {"id": session_id, "title": title, "updated_at": STARTED_AT, "message_count": 0}
        self.messages[session_id] = []
        return session_id

    def add_message(self, session_id: str, role: str, content: str, *, is_published: bool = True) -> str:
        message_id = str(uuid.uuid4())
        message = {"id": message_id, "role": role, "content": content, "created_at": STARTED_AT}
        self.messages[session_id].append(message)
        self.sessions[session_id]["message_count"] += 1
        payload = {"session_id": session_id, "message_id": message_id, "role": role, "content": content}
        if is_published:
            self.say("message.append", session_id, payload)
            self.say("session.update", session_id, dict(self.sessions[session_id]))
        return message_id

    def answer(self, session_id: str, *tokens: str) -> None:
        """One model call, as it is published."""
        self.say("llm.start", session_id, {"session_id": session_id})
        for token in tokens:
            self.say("llm.token", session_id, {"session_id": session_id, "token": token})
        self.say("llm.end", session_id, {"session_id": session_id, "tokens_in": 1, "tokens_out": len(tokens)})
        self.add_message(session_id, "assistant", "".join(tokens))

    def say(self, topic: str, session_id: str, payload: Any) -> None:
        with self._lock:
            self._outgoing.append((topic, session_id, payload))

    # --- the sockets

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._rpc, zmq.POLLIN)
        poller.register(self._pub, zmq.POLLIN)
        while not self._is_stopped.is_set():
            ready = dict(poller.poll(POLL_MS))
            if self._pub in ready:
                self.subscriptions += 1 if self._pub.recv()[:1] == b"\x01" else -1
            if self._rpc in ready:
                identity, empty, message = self._rpc.recv_multipart()
                assert empty == b""
                answer = self._answer(message)
                if answer is not None:
                    self._rpc.send_multipart([identity, b"", json.dumps(answer).encode()])
            with self._lock:
                outgoing, self._outgoing = self._outgoing, []
            for topic, session_id, payload in outgoing:
                self._pub.send(self._frame(topic, session_id, payload))

    def _frame(self, topic: str, session_id: str, payload: Any) -> bytes:
        envelope = {"instanceId": self.instance_id, "projectId": self.project_id}
        if session_id:
            envelope["sessionId"] = session_id
        envelope |= {"topic": topic, "timestamp": STARTED_AT, "payload": payload}
        return topic.encode() + b"\0" + json.dumps(envelope, separators=(",", ":")).encode()

    def _answer(self, message: bytes) -> dict[str, Any] | None:
        request = json.loads(message)
        self.requests.append(request)
        if not isinstance(request.get("id"), str):
            return _error("", -32700, "json: cannot unmarshal number into Go struct field Request.id of type string")
        if request["method"] in self.unanswered:
            self.unanswered.remove(request["method"])
            return None
        method = self.methods.get(request["method"])
        if method is None:
            return _error(request["id"], -32601, "ipc: method not found")
        try:
            result = method(request.get("params") or {})
        except Failure as failure:
            return _error(request["id"], failure.code, str(failure))
        return {"jsonrpc": "2.0", "id": request["id"], "result": result, "error": None}

    # --- the methods

    def _state_sync(self, params: Any) -> Any:
        return {"sessions": self._session_list({}), "active_session_id": self.active, "instance_id": self.instance_id}

    def _session_list(self, params: Any) -> Any:
        return [*self.sessions.values()] or None  # as Go writes a nil slice

    def _session_get(self, params: Any) -> Any:
        if params["session_id"] not in self.sessions:
            raise Failure(-32000, "session not found")
        return self.sessions[params["session_id"]]

    def _session_activate(self, params: Any) -> Any:
        self.active = params["session_id"]
        return {"ok": True}

    def _message_send(self, params: Any) -> Any:
        self.add_message(params["session_id"], "user", params["content"])
        self.on_send(params["session_id"], params["content"])
        return {"ok": True}

    def _session_interrupt(self, params: Any) -> Any:
        self.interrupted.append(params["session_id"])
        return {"ok": True}

    def _message_list(self, params: Any) -> Any:
        return self.messages[params["session_id"]] or None

    def _instance_ping(self, params: Any) -> Any:
        return {"status": "ok", "instance_id": self.instance_id, "uptime": "1m5s"}

    def _instance_info(self, params: Any) -> Any:
        """The document does not say what it answers."""
        return {"id": self.instance_id, "startedAt": 1, "pid": "none"}


def _error(call_id: str, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "error": {"code": code, "message": message}}
