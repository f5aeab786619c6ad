"""Tools: functions that an agent or a model may call."""

from antiphon.worker.tools.tool import Tool, ToolContext, tool

__all__ = ["Tool", "ToolContext", "tool"]
