"""Makes the README's recording from the real thing: `antiphon chat` in a terminal.

Run it: ./dev exec python scripts/pictures.py
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pyte
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.server import BenchServer

DOCS = Path(__file__).parent.parent / "docs"
AGENT = str(Path(__file__).parent / "picture_agent.py") + ":agent"
QUESTION = "What happens to my cursor when the connection breaks in the middle of an answer?"
COLUMNS, ROWS = 84, 26
TYPING_S, FRAME_S, RECORDED_S, PAUSE_S = 0.03, 0.2, 17.0, 4.0
"""Seconds: between two keys, between two frames, of the recording, and before it starts again."""


def main() -> None:
    with BenchServer(options=(AGENT,)) as server:
        _terminal(server)


def _terminal(server: BenchServer) -> None:
    prompt = "$ antiphon chat\n"
    typed = QUESTION.encode() + b"\r"
    recorded = _run_in_terminal(["antiphon", "chat", "--url", f"http://127.0.0.1:{server.port}"], typed, server.token)
    frames = [(at_s, list(Text.from_ansi(prompt + screen).split("\n"))[:ROWS]) for at_s, screen in recorded]
    (DOCS / "recording.svg").write_text(_recording(frames))


def _run_in_terminal(command: list[str], typed: bytes, token: str) -> list[tuple[float, str]]:
    """Each different screen as text with colours, and after how many seconds it appeared."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    pid, descriptor = pty.fork()
    if pid == 0:
        state = tempfile.mkdtemp(prefix="antiphon-pictures-")  # not this user's own history
        os.environ.update(ANTIPHON_TOKEN=token, TERM="xterm-256color", XDG_STATE_HOME=state)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.execvp(command[0], command)
    os.set_blocking(descriptor, False)
    keys = [(1.5 + number * TYPING_S, bytes([key])) for number, key in enumerate(typed)]
    recorded: list[tuple[float, str]] = []
    begun, shot_s = time.monotonic(), 0.0
    while (now_s := time.monotonic() - begun) < RECORDED_S:
        while keys and keys[0][0] <= now_s:
            os.write(descriptor, keys.pop(0)[1])
        try:
            stream.feed(os.read(descriptor, 65536))
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:
            break
        if now_s - shot_s >= FRAME_S:
            shot_s, shown = now_s, "\n".join(_line(screen, row) for row in range(ROWS)).rstrip()
            if not recorded or recorded[-1][1] != shown:
                recorded.append((now_s, shown))
    os.close(descriptor)
    subprocess.run(["kill", str(pid)], check=False)
    return recorded


def _line(screen: pyte.Screen, row: int) -> str:
    cells = screen.buffer[row]
    shown = []
    for column in range(COLUMNS):
        cell = cells[column]
        codes = ["1"] if cell.bold else []
        codes += ["3"] if cell.italics else []
        if re.fullmatch("[0-9a-f]{6}", cell.fg):
            codes.append("38;2;" + ";".join(str(int(cell.fg[i : i + 2], 16)) for i in (0, 2, 4)))
        elif cell.fg in NAMES:
            codes.append(NAMES[cell.fg])
        shown.append(f"\033[{';'.join(codes) or 0}m{cell.data}\033[0m")
    return re.sub(r"(?:\033\[0m \033\[0m)+$", "", "".join(shown))


NAMES = {"red": "31", "green": "32", "brown": "33", "blue": "34", "magenta": "35", "cyan": "36", "white": "37"}
NAMES |= {f"bright{name}": f"9{code[1]}" for name, code in NAMES.items()}
NAMES |= {"brightblue": "38;2;130;170;255", "brightblack": "90"}  # the picture's own blue is too dark


def _recording(frames: list[tuple[float, list[Text]]]) -> str:
    """An animated SVG: the frames lie below each other, and the window moves from one to the next."""
    width, height = int(COLUMNS * 8.4 + 32), ROWS * 18 + 32
    begin_s, end_s = frames[0][0], frames[-1][0] + PAUSE_S
    drawn: dict[str, str] = {}
    pages, steps = [], []
    for number, (at_s, lines) in enumerate(frames):
        uses = []
        for row, line in enumerate(lines):
            if line.plain.strip():
                name = drawn.setdefault(_tspans(line), f"l{len(drawn)}")
                uses.append(f'<use href="#{name}" y="{row * 18 + 30}"/>')
        pages.append(f'<g transform="translate(0 {number * height})">{"".join(uses)}</g>')
        steps.append(f"{(at_s - begin_s) / (end_s - begin_s):.2%}{{transform:translateY(-{number * height}px)}}")
    lines_svg = "\n".join(f'<text id="{name}" x="16">{spans}</text>' for spans, name in drawn.items())
    last = (len(frames) - 1) * height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-size="14" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace">\n'
        f"<style>#film{{animation:film {end_s - begin_s:.1f}s step-end infinite}}@keyframes film{{{''.join(steps)}}}"
        "@media (prefers-reduced-motion: reduce){"
        f"#film{{animation:none;transform:translateY(-{last}px)}}}}</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#15181d"/>\n<defs fill="#d8dee6">\n{lines_svg}\n</defs>\n'
        '<g id="film" fill="#d8dee6">\n' + "\n".join(pages) + "\n</g>\n</svg>\n"
    )


def _tspans(line: Text) -> str:
    spans = []
    for start, end, style in _spans(line):
        text = html.escape(line.plain[start:end]).replace(" ", "\u00a0")
        if text:
            spans.append(f"<tspan{style}>{text}</tspan>")
    return "".join(spans)


def _spans(line: Text) -> list[tuple[int, int, str]]:
    """(start, end, attributes) of the whole line, piece by piece."""
    found, reached = [], 0
    for span in sorted(line.spans, key=lambda span: span.start):
        style = span.style if not isinstance(span.style, str) else None
        attributes = ""
        if style is not None and style.bold:
            attributes += ' font-weight="bold"'
        if style is not None and style.italic:
            attributes += ' font-style="italic"'
        if style is not None and style.color is not None:
            attributes += f' fill="{style.color.get_truecolor().hex}"'
        found += [(reached, span.start, ""), (span.start, span.end, attributes)]
        reached = span.end
    return [*found, (reached, len(line.plain), "")]


if __name__ == "__main__":
    main()
