"""Tools: functions with type hints and a docstring, run at most once each, side by side, with progress.

Run it: ./dev run examples/tools.py:agent, and write `/call add {"a": 1, "b": 2}` or `/call roll {"count": 3}`
"""

import random
import time

from antiphon import Agent, ToolContext, tool


@tool(idempotent=True)
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


@tool(timeout_s=30)
def roll(context: ToolContext, count: int = 1, sides: int = 6) -> list[int]:
    """Roll some dice."""
    rolled = []
    for number in range(1, count + 1):
        context.progress(f"die {number} of {count} ...")
        time.sleep(0.3)
        rolled.append(random.randint(1, sides))
    return rolled


agent = Agent(system="Use the tools when they help.", tools=[add, roll])
