"""Opens the agents on NATS where an option asks for them. Their library is imported on demand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from antiphon.instance import Instance
from antiphon.server.backends import is_open_to_all

OPEN_AGENTS = "any client of the NATS server can prompt the agents, and read the answers"

if TYPE_CHECKING:
    from antiphon.api.nats_agent.endpoint import NatsAgents


class NatsAgentsHandle:
    """The agents, or none."""

    def __init__(self, agents: NatsAgents | None) -> None:
        self._agents = agents
        self.task = agents.task if agents is not None else None
        """What runs them; agents that fail take their server down."""

    async def leave(self) -> None:
        """Accept no more prompts: the instance is about to stop."""
        if self._agents is not None:
            await self._agents.leave()


@contextlib.asynccontextmanager
async def open_agents(instance: Instance) -> AsyncIterator[NatsAgentsHandle]:
    """Serve `--nats-agent`. Raises `Invalid` for the URL of the bus."""
    if not instance.options.nats_agent:
        yield NatsAgentsHandle(None)
        return
    from antiphon.api.nats_agent.endpoint import open_nats_agents

    if is_open_to_all(instance.options.bus):
        instance.health.warn("nats_agent_without_credentials", OPEN_AGENTS)
    async with open_nats_agents(instance) as agents:
        yield NatsAgentsHandle(agents)
