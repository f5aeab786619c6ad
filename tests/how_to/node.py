"""Node and its packages, for the programs of the how-to pages: installed once into the checkout, then offline."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from programs import needs_program, program

WANTED = Path(__file__).parent / "package.json"
FOLDER = Path(__file__).parents[2] / ".tools" / "node"
INSTALL_S = 300


def node() -> str:
    """Node's path, with the packages of `WANTED` in `FOLDER/node_modules`."""
    return program("node") if _is_installed() else _install()


def node_marks() -> list[pytest.MarkDecorator]:
    """For a test that calls `node`."""
    return [needs_program("node"), *([] if _is_installed() else [needs_program("npm")])]


def _install() -> str:
    found, npm = program("node"), program("npm")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest may have several processes
        if _is_installed():
            return found
        shutil.copy(WANTED, FOLDER)
        # without scripts: the package brings its binaries along
        command = [npm, "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode:
            pytest.skip(f"npm could not install what is in {WANTED.name}:\n{done.stdout}{done.stderr}")
        shutil.copy(WANTED, FOLDER / "installed.json")
    return found


def _is_installed() -> bool:
    """Whether all of it is there: the copy is made at the end."""
    done = FOLDER / "installed.json"
    return done.exists() and done.read_text() == WANTED.read_text()
