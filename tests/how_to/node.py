"""Node and its packages, for programs of the documents and tests of protocols: installed once into the checkout."""

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


def node(wanted: Path = WANTED, folder: Path = FOLDER) -> str:
    """Node's path, with the packages of `wanted` in `folder/node_modules`."""
    return program("node") if _is_installed(wanted, folder) else _install(wanted, folder)


def node_marks(wanted: Path = WANTED, folder: Path = FOLDER) -> list[pytest.MarkDecorator]:
    """For a test that calls `node`."""
    return [needs_program("node"), *([] if _is_installed(wanted, folder) else [needs_program("npm")])]


def _install(wanted: Path, folder: Path) -> str:
    found, npm = program("node"), program("npm")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest may have several processes
        if _is_installed(wanted, folder):
            return found
        shutil.copy(wanted, folder / "package.json")
        # without scripts: the package brings its binaries along
        command = [npm, "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode:
            pytest.skip(f"npm could not install what is in {wanted}:\n{done.stdout}{done.stderr}")
        shutil.copy(wanted, folder / "installed.json")
    return found


def _is_installed(wanted: Path, folder: Path) -> bool:
    """Whether all of it is there: the copy is made at the end."""
    done = folder / "installed.json"
    return done.exists() and done.read_text() == wanted.read_text()
