"""Tools: functions that an agent or a model may call."""

from antiphon.worker.tools.client import ask_person
from antiphon.worker.tools.tool import FileRefused, RawTool, Tool, ToolContext, tool

__all__ = ["FileRefused", "RawTool", "Tool", "ToolContext", "ask_person", "tool"]
