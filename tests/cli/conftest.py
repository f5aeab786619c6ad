"""A server in its own directory, and the command line run there as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from client.servers import ServerProcess
from support.forked import run_command
from support.waiting import DEADLINE_S

COMMAND = [sys.executable, "-m", "antiphon.cli"]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Result]


def environment(**more: str) -> dict[str, str]:
    """The environment of the tests, without variables that change the command's behaviour."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "COLUMNS"))}
    return kept | {"TERM": "xterm-256color"} | more


def run_in(directory: Path, *args: str, stdin: str = "", **env: str) -> Result:
    given = stdin.encode()
    if any(name.startswith("PYTHON") for name in env):  # options of the interpreter, which it reads at its start
        done = subprocess.run(
            [*COMMAND, *args],
            cwd=directory,
            input=given,
            capture_output=True,
            env=environment(**env),
            timeout=DEADLINE_S,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    code, out, err = run_command(args, cwd=directory, env=environment(**env), stdin=given, timeout=DEADLINE_S)
    return Result(code, out.decode(), err.decode())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the server of this file's tests runs."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(home / ".antiphon", "--drain-s", "0")
    yield running
    assert running.stop() == 0


@pytest.fixture
def run(server: ServerProcess, home: Path) -> Run:
    """`run("ls", "--json")`: the command, in the server's directory."""
    return lambda *args, **more: run_in(home, *args, **more)


@pytest.fixture
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's runtime directory in which no instance is announced."""
    directory = tmp_path_factory.mktemp("run")
    directory.chmod(0o700)
    return directory


@pytest.fixture
def run_alone(tmp_path: Path, runtime_dir: Path) -> Run:
    """The command in an empty directory, on a machine without an instance."""
    return lambda *args, **more: run_in(tmp_path, *args, **{"XDG_RUNTIME_DIR": str(runtime_dir), **more})
