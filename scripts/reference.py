"""Generates parts of docs/ from the code: routes, facts, transitions, errors, crash points, metrics, limits, keys of
the configuration file, frames.

`./dev docs` runs it. A test fails while a generated part is out of date.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import msgspec
from frames import frames

from antiphon import errors, mcp_settings
from antiphon.api.http.answers import STATUS
from antiphon.api.http.operations import OPERATIONS
from antiphon.api.zmq.commands import ROUTES
from antiphon.cli.serve import command as serve
from antiphon.cli.serve import file_keys
from antiphon.core import facts
from antiphon.core.transitions import TABLE
from antiphon.mcp_settings import McpServer
from antiphon.observe.crash_points import CRASH_POINTS
from antiphon.observe.metrics import METRICS
from antiphon.options import Limits
from antiphon.wire import instance
from antiphon.wire.fact_fields import event_fields

DOCS = Path(__file__).parent.parent / "docs"
MARK = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def routes() -> str:
    lines = ["| route | policy | summary | body | responses |", "|---|---|---|---|---|"]
    for operation in OPERATIONS:
        fields = ", ".join(f"`{name}`" for name in _fields(operation.body))
        query = "".join(f" `?{name}`" for name in _fields(operation.query))
        answers = ", ".join(str(answer.status) for answer in operation.answers)
        path = f"`{operation.method} {operation.full_path}`{query}"
        lines.append(f"| {path} | {operation.policy} | {operation.summary} | {fields} | {answers} |")
    return "\n".join(lines)


def _fields(kind: Any) -> tuple[str, ...]:
    return () if kind is None else tuple(field.encode_name for field in msgspec.structs.fields(kind))


def fact_kinds() -> str:
    lines = ["| fact | own fields | opens a draft | notes |", "|---|---|---|---|"]
    for name, kind in facts.KINDS.items():
        own = ", ".join(f"`{field}`" for field in event_fields(kind))
        opens = "yes" if kind in facts.OPENS_DRAFT else ""
        about = (kind.__doc__ or "").strip().splitlines()
        lines.append(f"| `{name}` | {own} | {opens} | {about[0] if about else ''} |")
    return "\n".join(lines)


def transitions() -> str:
    """The state diagram: one arrow for each pair of states, labelled with the events that cause the change."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, label), after in TABLE.items():
        arrows.setdefault((before.value, after.value), []).append(label)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> waiting: chat created"]
    for (source, target), labels in arrows.items():
        if source != target:
            lines.append(f"    {source} --> {target}: " + "<br>".join(labels))
    lines.append("```")
    rows = ["", "| status | event | new status |", "|---|---|---|"]
    rows += [f"| {before} | {label} | {after} |" for (before, label), after in TABLE.items()]
    return "\n".join(lines + rows)


def error_codes() -> str:
    lines = ["| code | status | message |", "|---|---|---|"]
    for code, status in STATUS.items():
        lines.append(f"| `{code}` | {status} | {_sentence(code)} |")
    return "\n".join(lines)


def _sentence(code: str) -> str:
    examples: dict[str, Exception] = {
        "not_found": errors.NotFound(),
        "invalid": errors.Invalid("field", "reason"),
        "unauthenticated": errors.Unauthenticated(),
        "forbidden": errors.Forbidden(),
        "busy": errors.Busy(),
        "conflict": errors.Conflict(),
        "already_delivered": errors.AlreadyDelivered(7),
        "not_allowed_now": errors.NotAllowedNow("running", "stop the turn first, then archive"),
        "stale_attempt": errors.StaleAttempt(3),
        "too_large": errors.TooLarge("message (in bytes)", 4194304),
        "too_many": errors.TooMany("queued messages", 100),
        "rate_limited": errors.RateLimited("messages_per_minute", 60, 60, 12_000),
        "budget_exhausted": errors.BudgetExhausted(
            "tokens_per_day",
            2_000_000,
            2_000_140,
            what="2,000,140 of 2,000,000 tokens",
            resets_at="2026-12-01T00:00:00Z",
            retry_after_ms=3_600_000,
        ),
        "cursor_invalid": errors.CursorInvalid("9.9"),
        "unavailable": errors.Unavailable(),
    }
    return str(examples.get(code, "Something went wrong here; the server's log has it under this id."))


def crash_points() -> str:
    return "\n".join(
        ["| point | where |", "|---|---|", *(f"| `{n}` | {where} |" for n, where in CRASH_POINTS.items())]
    )


def metrics() -> str:
    lines = ["| metric | meaning |", "|---|---|"]
    for family in METRICS.registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        lines.append(f"| `{family.name}{suffix}` | {family.documentation} |")
    return "\n".join(lines)


def limits() -> str:
    defaults = Limits()
    rows = [f"| `{name}` | {getattr(defaults, name):,} |" for name in Limits.__struct_fields__]
    return "\n".join(["| limit | default |", "|---|---|", *rows])


def serve_keys() -> str:
    lines = ["| key of `[serve]` | value | meaning |", "|---|---|---|"]
    for key, param in file_keys(serve).items():
        about = getattr(param, "help", None) or "The agent, `file.py:name`. Default: the built-in agent."
        lines.append(f"| `{key}` | {_value_of(key, param)} | {_as_code(about.replace('  [', ' ['))} |")
    return "\n".join(lines)


def _as_code(text: str) -> str:
    """Placeholders in angle brackets as code: in Markdown they would be tags."""
    return re.sub(r"(<[\w:<>-]+>)", r"`\1`", text)


def _value_of(key: str, param: click.Parameter) -> str:
    if key == "limit":
        return "table of numbers"
    if isinstance(param, click.Option) and param.is_flag:
        return "true or false"
    kind = "number" if isinstance(param.type, click.IntRange | click.FloatRange) else "string"
    return f"list of {kind}s" if isinstance(param, click.Option) and param.multiple else kind


def mcp_keys() -> str:
    """The fields of `McpServer` with their documentation strings, which only the source has."""
    source = ast.parse(Path(mcp_settings.__file__).read_text())
    (body,) = (node.body for node in source.body if isinstance(node, ast.ClassDef) and node.name == "McpServer")
    lines = ["| key of `[mcp.NAME]` | default | meaning |", "|---|---|---|"]
    for field, about in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(about, ast.Expr) and isinstance(about.value, ast.Constant):
            name = ast.unparse(field.target)
            default = msgspec.to_builtins(getattr(McpServer(), name))
            shown = "" if default in ("", None) or default == {} or default == () else f"`{json.dumps(default)}`"
            lines.append(f"| `{name}` | {shown} | {' '.join(str(about.value.value).split())} |")
    return "\n".join(lines)


def topics() -> str:
    rows = [f"| `{topic}` | {_names(kind)} |" for topic, kind in instance.PAYLOAD_TYPES.items()]
    return "\n".join(["| topic | payload |", "|---|---|", *rows])


def methods() -> str:
    kinds = {
        instance.METHOD_STATE_SYNC: (instance.StateSyncParams, instance.StateSyncResult),
        instance.METHOD_SESSION_LIST: (None, "a list of sessions, newest first"),
        instance.METHOD_SESSION_GET: (instance.SessionGetParams, instance.SessionPayload),
        instance.METHOD_SESSION_ACTIVATE: (instance.SessionActivateParams, instance.OKResult),
        instance.METHOD_MESSAGE_SEND: (instance.MessageSendParams, instance.OKResult),
        instance.METHOD_SESSION_INTERRUPT: (instance.SessionInterruptParams, instance.OKResult),
        instance.METHOD_INSTANCE_PING: (None, instance.PingResult),
        instance.METHOD_INSTANCE_INFO: (None, instance.InstanceInfo),
        instance.METHOD_MESSAGE_LIST: (
            instance.MessageListParams,
            "a list of {id, role, content, created_at}, oldest first",
        ),
        instance.METHOD_READ: (instance.ReadParams, instance.ReadResult),
        instance.METHOD_COMMAND: ("`session_id`, `command` and its fields", "what the HTTP route returns"),
        instance.METHOD_REQUEST: (instance.RequestParams, instance.RequestResult),
        instance.METHOD_SESSION_CREATE: (instance.SessionCreateParams, instance.SessionPayload),
    }
    known = {value for name, value in vars(instance).items() if name.startswith("METHOD_")}
    assert set(kinds) == known, "every method is in the table"
    rows = [f"| `{method}` | {_names(params)} | {_names(result)} |" for method, (params, result) in kinds.items()]
    return "\n".join(["| method | params | result |", "|---|---|---|", *rows])


def commands() -> str:
    return ", ".join(f"`{name}`" for name in ROUTES) + "."


def _names(kind: Any) -> str:
    return kind if isinstance(kind, str) else ", ".join(f"`{name}`" for name in _fields(kind))


PARTS: dict[str, Callable[[], str]] = {
    "routes": routes,
    "fact_kinds": fact_kinds,
    "transitions": transitions,
    "error_codes": error_codes,
    "crash_points": crash_points,
    "metrics": metrics,
    "limits": limits,
    "serve_keys": serve_keys,
    "mcp_keys": mcp_keys,
    "topics": topics,
    "methods": methods,
    "commands": commands,
    "frames": frames,
}


def made(text: str) -> str:
    """`text` with its generated parts up to date."""
    return MARK.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}", text)


def main() -> int:
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text()
        if (new := made(text)) != text:
            path.write_text(new)
            print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
