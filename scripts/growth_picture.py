"""docs/replicas-growth.svg, from what `antiphon bench growth --json` printed:

antiphon bench growth --json | python scripts/growth_picture.py > docs/replicas-growth.svg
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 720, 300
PANEL, TOP, BOTTOM, GAP = 300, 60, 250, 40
STYLE = """
text { fill: #24292f; font: 13px system-ui, sans-serif; }
.title { font-weight: 600; }
.axis { stroke: #8c959f; fill: none; }
.first { fill: #0969da; }
.second { fill: #bf8700; }
.number { font-size: 12px; text-anchor: middle; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .axis { stroke: #7d8590; }
  .first { fill: #58a6ff; }
  .second { fill: #d29922; }
}
"""
NAME = re.compile(r"growth, (\d+) replicas?: (.*)")

Bars = Sequence[tuple[str, Sequence[tuple[str, float]]]]
"""For each number of replicas: its name, and the parts of its bar with their colours."""


def picture(figures: Sequence[dict[str, Any]]) -> str:
    found: dict[int, dict[str, float]] = {}
    for figure in figures:
        named = NAME.fullmatch(figure["name"])
        if named:
            found.setdefault(int(named[1]), {})[named[2]] = figure["value"]
    if not found:
        raise SystemExit("no figures of `growth` came in")
    rates: Bars = [(str(size), [("first", _value(values, "callers"))]) for size, values in found.items()]
    costs: Bars = [
        (str(size), [("first", _value(values, "replicas'")), ("second", _value(values, "PostgreSQL's"))])
        for size, values in found.items()
    ]
    parts = [
        *_panel(GAP, "Tiny turns a second, by replicas", rates),
        *_panel(GAP * 2 + PANEL, "CPU seconds of 1,000 tiny turns, by replicas", costs),
        *_legend(GAP * 2 + PANEL),
    ]
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>", *parts, "</svg>\n"]
    )


def _value(values: dict[str, float], ending: str) -> float:
    return next((value for name, value in values.items() if name.endswith(ending)), 0.0)


def _panel(left: int, title: str, bars: Bars) -> list[str]:
    """Bars from zero, each with its number above it."""
    highest = max(sum(value for _, value in parts) for _, parts in bars) or 1.0
    scale = (BOTTOM - TOP - 20) / highest
    step = PANEL / len(bars)
    drawn = [f'<text class="title" x="{left}" y="24">{title}</text>']
    for number, (name, parts) in enumerate(bars):
        middle, y = left + step * (number + 0.5), float(BOTTOM)
        for colour, value in parts:
            y -= value * scale
            x, width = middle - step * 0.3, step * 0.6
            drawn.append(
                f'<rect class="{colour}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{value * scale:.1f}"/>'
            )
        drawn.append(_number(middle, y - 6, _shown(sum(value for _, value in parts))))
        drawn.append(_number(middle, BOTTOM + 18, name))
    return [*drawn, f'<path class="axis" d="M{left} {BOTTOM}h{PANEL}"/>']


def _number(x: float, y: float, text: str) -> str:
    return f'<text class="number" x="{x:.1f}" y="{y:.1f}">{text}</text>'


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _legend(left: int) -> list[str]:
    shown = []
    for number, (colour, name) in enumerate((("first", "the replicas"), ("second", "PostgreSQL"))):
        x = left + number * 120
        shown.append(f'<rect class="{colour}" x="{x}" y="{HEIGHT - 18}" width="10" height="10"/>')
        shown.append(f'<text x="{x + 16}" y="{HEIGHT - 9}">{name}</text>')
    return shown


if __name__ == "__main__":
    sys.stdout.write(picture(json.load(sys.stdin)["figures"]))
