"""Runs the scenes and shows what they found."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from statistics import median

from antiphon.core.values import Value


class Figure(Value):
    """One line of the table. `ratio` is value to floor; `goal` is in words; `is_met` whether it is reached."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    floor_name: str = ""
    goal: str = ""
    is_met: bool | None = None

    @property
    def ratio(self) -> float | None:
        return None if not self.floor else self.value / self.floor


class Scale(Value):
    """How much is measured: `quick` for a short run, else the sizes of the goals. `store`: the PostgreSQL database
    that the scenes of replicas run on; they start one of their own where it is empty."""

    repeats: int = 5
    is_quick: bool = False
    store: str = ""


def _scenes() -> dict[str, Callable[[Scale], list[Figure]]]:
    from benchmarks import (
        growth,
        instance,
        protocols,
        relay,
        rules,
        sends,
        shared_sends,
        shared_takeover,
        startup,
        storm,
        streams,
        takeover,
    )

    return {
        "core": rules.measure_core,
        "startup": startup.measure_startup,
        "sends": sends.measure_sends,
        "turns": sends.measure_turns,
        "history": streams.measure_history,
        "latency": streams.measure_latency,
        "sse": streams.measure_sse,
        "protocols": protocols.measure_protocols,
        "overload": streams.measure_overload,
        "idle": streams.measure_idle,
        "fanout": instance.measure_fanout,
        "rpc": instance.measure_rpc,
        "takeover": takeover.measure_takeover,
        "shared-sends": shared_sends.measure_shared_sends,
        "notifications": shared_sends.measure_notifications,
        "relay": relay.measure_relay,
        "relayed-fanout": relay.measure_relayed_fanout,
        "storm": storm.measure_storm,
        "shared-takeover": shared_takeover.measure_shared_takeover,
        "growth": growth.measure_growth,
    }


SCENES = (
    "core",
    "startup",
    "sends",
    "turns",
    "history",
    "latency",
    "sse",
    "protocols",
    "overload",
    "idle",
    "fanout",
    "rpc",
    "takeover",
    "shared-sends",
    "notifications",
    "relay",
    "relayed-fanout",
    "storm",
    "shared-takeover",
    "growth",
)


def run_scenes(
    names: Sequence[str] = (),
    *,
    is_quick: bool = False,
    store: str = "",
    on_figure: Callable[[Figure], None] | None = None,
) -> list[Figure]:
    """Measure the scenes of these names (all by default), one after another."""
    scale = Scale(repeats=3 if is_quick else 5, is_quick=is_quick, store=store)
    scenes = _scenes()
    figures = []
    for name in names or SCENES:
        for figure in scenes[name](scale):
            figures.append(figure)
            if on_figure is not None:
                on_figure(figure)
    return figures


def middle(values: Sequence[float]) -> float:
    return float(median(values))


def format_table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table, with the machine they were measured on."""
    lines = ["| what | measured | floor | ratio | goal | |", "|---|---|---|---|---|---|"]
    for figure in figures:
        floor = "–" if figure.floor is None else f"{_number(figure.floor)} {figure.unit} ({figure.floor_name})"
        ratio = "–" if figure.ratio is None else f"{figure.ratio:.2f} ×"
        mark = {True: "✓", False: "✗", None: ""}[figure.is_met]
        value = f"{_number(figure.value)} {figure.unit}"
        lines.append(f"| {figure.name} | {value} | {floor} | {ratio} | {figure.goal} | {mark} |")
    lines.append("")
    system = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    lines.append(f"{platform.machine()}, {system}, Python {platform.python_version()}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
