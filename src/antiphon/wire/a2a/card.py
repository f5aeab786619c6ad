"""The agent card: what this agent is, can do and accepts."""

from __future__ import annotations

from typing import Any

from antiphon.wire.a2a.parts import INPUT_MODES, OUTPUT_MODES

VERSION = "1.0"
"""The version of A2A that is spoken."""

Json = dict[str, Any]


def agent_card(rpc_url: str, http_url: str, *, version: str) -> Json:
    """The addresses of the two bindings; `version` is that of this server."""
    return {
        "name": "Antiphon",
        "description": "An agent on an Antiphon server. Its tasks are durable: they outlive connections and crashes.",
        "supportedInterfaces": [
            {"url": rpc_url, "protocolBinding": "JSONRPC", "protocolVersion": VERSION},
            {"url": http_url, "protocolBinding": "HTTP+JSON", "protocolVersion": VERSION},
        ],
        "version": version,
        "capabilities": {"streaming": True, "pushNotifications": False, "extendedAgentCard": False},
        "securitySchemes": {
            "bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer", "description": "A token of this server."}}
        },
        "securityRequirements": [{"schemes": {"bearer": {"list": []}}}],
        "defaultInputModes": list(INPUT_MODES),
        "defaultOutputModes": list(OUTPUT_MODES),
        "skills": [
            {
                "id": "chat",
                "name": "Chat",
                "description": "Answers messages, uses tools, and asks for approvals or answers where it needs them.",
                "tags": ["chat", "agent", "tools"],
                "examples": ["What can you do?"],
            }
        ],
    }
