"""The agent card: what this agent is, can do and accepts."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.core.values import Value
from antiphon.wire.a2a.parts import INPUT_MODES, OUTPUT_MODES

VERSION = "1.0"
"""The version of A2A that is spoken."""

Json = dict[str, Any]


class Skill(Value, omit_defaults=False):
    """What the agent can do."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


CHAT = Skill(
    id="chat",
    name="Chat",
    description="Answers messages, uses tools, and asks for approvals or answers where it needs them.",
    tags=("chat", "agent", "tools"),
    examples=("What can you do?",),
)


class CardSettings(Value, gc=True):
    """What the operator says of the agent: `agent_card` of the server's configuration for agents."""

    name: str = "Antiphon"
    description: str = "An agent on an Antiphon server. Its tasks are durable: they outlive connections and crashes."
    version: str = ""
    """Empty: that of this server."""
    documentation_url: str = ""
    skills: tuple[Skill, ...] = (CHAT,)


def agent_card(given: CardSettings, rpc_url: str, http_url: str, *, version: str) -> Json:
    """The addresses of the two bindings; `version` is that of this server."""
    card: Json = {
        "name": given.name,
        "description": given.description,
        "supportedInterfaces": [
            {"url": rpc_url, "protocolBinding": "JSONRPC", "protocolVersion": VERSION},
            {"url": http_url, "protocolBinding": "HTTP+JSON", "protocolVersion": VERSION},
        ],
        "version": given.version or version,
        "capabilities": {"streaming": True, "pushNotifications": False, "extendedAgentCard": False},
        "securitySchemes": {
            "bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer", "description": "A token of this server."}}
        },
        "securityRequirements": [{"schemes": {"bearer": {"list": []}}}],
        "defaultInputModes": list(INPUT_MODES),
        "defaultOutputModes": list(OUTPUT_MODES),
        "skills": msgspec.to_builtins(given.skills),
    }
    return card | ({"documentationUrl": given.documentation_url} if given.documentation_url else {})
