"""An agent whose tool leaves two processes behind: one that was started, one that was forked off."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from antiphon import Agent, tool


@tool()
def leave() -> str:
    """Leave two processes that outlive this one."""
    started = subprocess.Popen(["sleep", "60"])
    forked = os.fork()
    if forked == 0:
        time.sleep(60)
        os._exit(0)
    Path(os.environ["LEFT_PIDS"]).write_text(f"{started.pid} {forked}")
    time.sleep(60)
    return "left"


agent = Agent(tools=[leave])
