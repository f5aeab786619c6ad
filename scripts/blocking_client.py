"""Writes the blocking client (src/antiphon/client/blocking) from the asynchronous one.

Run it as `./dev exec python scripts/blocking_client.py`. It removes `async` and `await` and replaces asynchronous
names by their blocking counterparts. A test checks that the written files are fresh.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[1] / "src" / "antiphon" / "client"
SOURCE, TARGET = CLIENT / "asynchronous", CLIENT / "blocking"

REPLACEMENTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\basync (?=def|with|for)", ""),
        (r"\bawait ", ""),
        (r"\bAwaitable, ", ""),
        (r"\bAwaitable\[(\w+)\]", r"\1"),
        (r"\bAsync(?=[A-Z])", ""),
        (r"\b__a(enter|exit)__", r"__\1__"),
        (r"\baclos(e|ing)\b", r"clos\1"),
        (r"\baiter_raw\b", "iter_raw"),
        (r"\b(read_answer|iter_pieces)_async\b", r"\1"),
        (r"\basyncio\.sleep\b", "time.sleep"),
        (r"^import asyncio\n(import time\n)?", "import time\n"),
        (r"\nimport asyncio\n(import time\n)?", "\nimport time\n"),
        (r", for asyncio\b", ", blocking"),
        (r"\ban asynchronous\b", "a blocking"),
        (r"\basynchronous context manager\b", "context manager"),
        (r"\basynchronous\b", "blocking"),
    )
]
HEADER = "# Generated from client/asynchronous/{name} by scripts/blocking_client.py. Do not edit.\n"


def made() -> dict[Path, str]:
    """The text of every file of the blocking client."""
    return {
        TARGET / path.name: _formatted(HEADER.format(name=path.name) + _blocking(path.read_text(encoding="utf-8")))
        for path in sorted(SOURCE.glob("*.py"))
        if path.name != "__init__.py"
    }


def _blocking(text: str) -> str:
    for pattern, replacement in REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text


def _formatted(text: str) -> str:
    """The text as `ruff format` writes it, with sorted imports."""
    for arguments in (["check", "--select", "I", "--fix", "--quiet"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(TARGET / "x.py"), "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main() -> None:
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
