"""A newcomer's machine: a copy of the sources, an empty HOME, and the package installed from its wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from antiphon.local.lock import InstanceFile, read_instance_file

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 120
DEFAULT_PORT = "8414"


class CleanShell:
    """Runs commands as typed in a fresh clone, with nothing set but PATH, HOME and the runtime directory."""

    def __init__(self, folder: Path) -> None:
        self.clone = _copy_sources(folder / "antiphon")
        self.scripts = _install_wheel(self.clone, folder) / "bin"
        home, runtime = folder / "home", folder / "run"
        for directory in (home, runtime):
            directory.mkdir(mode=0o700)
        self.env = {
            "PATH": f"{self.scripts}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime),
            "LANG": "C.UTF-8",
        }

    def run(self, script: str, *, port: int, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `script` in one shell. Only the default port is replaced, because it may be taken here."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(DEFAULT_PORT, str(port))],
            cwd=cwd or self.clone,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    def start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a server as typed, on any free port."""
        with log.open("wb") as out:
            return subprocess.Popen(
                ["bash", "-c", f"exec {command.strip()} --port 0 --drain-s 0"],
                cwd=self.clone,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def instance_of(self, data: str, process: subprocess.Popen[bytes]) -> InstanceFile | None:
        """The instance file of `data` once the process is ready."""
        found = read_instance_file(self.clone / data)
        return found if found is not None and found.pid == process.pid else None


def _copy_sources(clone: Path) -> Path:
    """What a clone holds, and the environment that `./dev` would set up."""
    made = shutil.ignore_patterns(".*_cache", ".git", ".hypothesis", ".tools", ".venv", "__pycache__", ".antiphon*")
    shutil.copytree(ROOT, clone, ignore=made)
    (clone / ".venv").symlink_to(ROOT / ".venv")
    return clone


def _install_wheel(clone: Path, folder: Path) -> Path:
    """A new environment that has the wheel; its dependencies are those of the tests' own environment."""
    dist, environment = folder / "dist", folder / "venv"
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(dist)]
    subprocess.run(build, cwd=clone, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    packages = next((environment / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (wheel,) = dist.glob("*.whl")
    uv = [str(ROOT / ".tools/bin/uv"), "pip", "install", "--quiet", "--offline", "--no-deps"]
    env = {**os.environ, "UV_NO_CONFIG": "1"}
    python = str(environment / "bin" / "python")
    subprocess.run([*uv, "--python", python, str(wheel)], check=True, env=env, capture_output=True)
    return environment
