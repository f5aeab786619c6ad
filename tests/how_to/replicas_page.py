"""The page's blocks, run as they stand there in a copy of the example's folder, on ports that are free."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from programs import search_path
from support.ports import free_ports
from support.postgres import PostgresServer, find_postgres

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "run-several-replicas.md").read_text()
BLOCKS = re.findall(r"^```sh *([^\n]*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLE = ROOT / "examples" / "replicas"
"""Below those that outgoing connections take, so that a replica that starts again finds its port free."""
BLOCK_S = 90.0


def need(*programs: str) -> str:
    """A PATH with these programs and our own. Without one of them the test is skipped."""
    path = os.pathsep.join((str(find_postgres()), search_path()))
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed")
    return path


SHELL = [code for name, code in BLOCKS if not name]
"""What is to be run; a block with a name is that file of the example."""


def block(words: str) -> str:
    """The page's one block that has these words."""
    (found,) = [code for code in SHELL if words in code]
    return str(found)


class Workplace:
    """The directory of a reader of the page: `home/replicas` is the copy of the example."""

    def __init__(self, home: Path, path: str, postgres: PostgresServer) -> None:
        ports = dict(zip((4222, 8400, 8411, 8412, 8413), free_ports(5), strict=True))
        self.ports = ports | {5432: postgres.port}
        self.folder = home / "replicas"
        self.url = f"http://127.0.0.1:{self.ports[8400]}"
        self._home = home
        self._postgres = postgres
        self._env = os.environ | {"PATH": path, "XDG_RUNTIME_DIR": str(home), "DRAIN_S": "0.5"}
        self._env = {name: value for name, value in self._env.items() if not name.startswith("ANTIPHON_")}
        self._shells: list[subprocess.Popen[bytes]] = []
        self.ran = {block("export ANTIPHON_BUS")}
        """The blocks that ran. The first one is run before each."""
        self._setting = self.text(*self.ran)
        shutil.copytree(EXAMPLE, self.folder)
        for name in ("nginx.conf", "nats.conf"):
            config = self.folder / name
            config.write_text(self.text(config.read_text()))

    def text(self, page: str) -> str:
        """As the page has it, with the ports and the database's administrator of this place."""
        page = re.sub(r"\b(5432|4222|84\d\d)\b", lambda m: str(self.ports.get(int(m[0]), m[0])), page)
        return page.replace("sudo -u postgres psql", f"psql -v ON_ERROR_STOP=1 {self._postgres.url}")

    @property
    def replicas(self) -> list[Path]:
        """Their data directories."""
        return [self.folder / f"replica-{self.ports[number]}" for number in (8411, 8412, 8413)]

    def logs(self) -> list[str]:
        """What each replica said."""
        return [path.with_suffix(".log").read_text() for path in self.replicas]

    async def run(self, words: str) -> str:
        """Run the page's block that has these words; what it printed. What it starts goes on."""
        self.ran.add(block(words))
        return await self.shell(block(words))

    async def shell(self, script: str) -> str:
        """The same with what is not on the page."""
        script = self.text(script)
        return await asyncio.to_thread(self._shell, script)

    def _shell(self, script: str) -> str:
        output = self._home / f"output-{len(self._shells)}"
        with output.open("wb") as out:  # background processes would keep a pipe open
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", f"{self._setting}\n{script}"],
                cwd=self._home,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._shells.append(shell)
            code = shell.wait(BLOCK_S)
        assert code == 0, f"{script}\n{output.read_text()}"
        return output.read_text()

    def close(self) -> None:
        """End all that was started."""
        for shell in self._shells:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            shell.wait()
