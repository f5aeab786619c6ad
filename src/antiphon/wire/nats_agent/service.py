"""How an agent is registered and found: subjects (§2), records of a NATS micro service (§3), heartbeats (§8)."""

from __future__ import annotations

import re
import uuid
from typing import Any

from antiphon.core.values import Value
from antiphon.errors import Invalid
from antiphon.version import __version__
from antiphon.wire.codec import encode
from antiphon.wire.gotime import format_time_us

PROTOCOL_VERSION = "0.3"
SERVICE = "agents"
"""The name of the micro service, and of the queue groups: one of several replicas gets a prompt."""
AGENT = "antiphon"
"""What kind of agent this is: the third token of the subjects."""
VERBS = ("PING", "INFO", "STATS")
OPTION = "--nats-agent"

_TOKEN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class AgentName(Value):
    """An agent of this server: whose chats it uses, and its session."""

    owner: str
    session: str

    @staticmethod
    def parse(text: str, *, default_owner: str = "admin") -> AgentName:
        """From `[OWNER/]SESSION`. Raises `Invalid` for what a subject cannot have."""
        owner, slash, session = text.rpartition("/")
        name = AgentName(owner=owner if slash else default_owner, session=session)
        if not _TOKEN.fullmatch(name.owner) or not _TOKEN.fullmatch(name.session):
            raise Invalid(OPTION, f"{text!r} is not [OWNER/]SESSION, each of 1 to 63 characters a-z, 0-9, - and _")
        return name

    def subject(self, verb: str) -> str:
        """The subject of `prompt`, `status` or `hb`."""
        return f"agents.{verb}.{AGENT}.{self.owner}.{self.session}"


class AgentRecord(Value):
    """One agent of one instance, as callers find it. `max_payload` is the server's, in bytes."""

    name: AgentName
    instance_id: str
    max_payload: int

    @property
    def id(self) -> str:
        """The same at every connection of the instance; each of its agents has its own."""
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self.instance_id}/{self.name.owner}/{self.name.session}").hex

    def control_subjects(self, verb: str) -> tuple[str, str, str]:
        """The subjects of a verb of the micro service: for all services, for all agents, for this one."""
        return f"$SRV.{verb}", f"$SRV.{verb}.{SERVICE}", f"$SRV.{verb}.{SERVICE}.{self.id}"

    def ping(self) -> bytes:
        return encode(self._head("ping"))

    def info(self) -> bytes:
        described = {"description": f"Antiphon: the session {self.name.session} of {self.name.owner}"}
        endpoints = [
            self._endpoint("prompt", {"max_payload": f"{self.max_payload}B", "attachments_ok": "true"}),
            self._endpoint("status", {}),
        ]
        return encode(self._head("info") | described | {"endpoints": endpoints})

    def stats(self, *, started_us: int, prompts: int, errors: int) -> bytes:
        """`prompts` were received and `errors` of them refused or failed since `started_us`."""
        counts = {"num_requests": prompts, "num_errors": errors, "processing_time": 0, "average_processing_time": 0}
        endpoint = self._endpoint("prompt", None) | counts
        return encode(self._head("stats") | {"started": format_time_us(started_us), "endpoints": [endpoint]})

    def heartbeat(self, now_us: int, interval_s: int) -> bytes:
        """The beacon; also the answer of `status`."""
        return encode(
            {
                "agent": AGENT,
                "owner": self.name.owner,
                "session": self.name.session,
                "instance_id": self.id,
                "ts": format_time_us(now_us),
                "interval_s": interval_s,
            }
        )

    def _head(self, kind: str) -> dict[str, Any]:
        metadata = {
            "agent": AGENT,
            "owner": self.name.owner,
            "session": self.name.session,
            "protocol_version": PROTOCOL_VERSION,
        }
        return {
            "type": f"io.nats.micro.v1.{kind}_response",
            "name": SERVICE,
            "id": self.id,
            "version": __version__,
            "metadata": metadata,
        }

    def _endpoint(self, name: str, metadata: dict[str, str] | None) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": name, "subject": self.name.subject(name), "queue_group": SERVICE}
        return shown if metadata is None else shown | {"metadata": metadata}
