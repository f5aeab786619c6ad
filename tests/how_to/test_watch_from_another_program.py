"""Every program of the page runs as it stands there, beside a real server."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.client import Client
from api.zmq.peers import Peer, open_endpoint
from client.servers import ServerProcess
from programs import needs_program
from support.waiting import DEADLINE_S, wait_until_sync

from .node import FOLDER, WANTED, node, node_marks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "watch-from-another-program.md"
BLOCKS = [
    (m[1], m[2]) for m in re.finditer(r"^```(\w+[^\n]*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
]
THOUSAND = "".join(f"w{n} " for n in range(1, 1001))


def only(kind: str, word: str = "") -> str:
    """The page's block of that kind that has the word."""
    (code,) = [code for found, code in BLOCKS if found == kind and word in code]
    return code


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("home") / ".antiphon", "--drain-s", "0")
    yield running
    assert running.stop() == 0


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(home: Path, *command: str) -> str:
    """What it prints, run in the directory where the server was started."""
    done = subprocess.run(
        command, cwd=home, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def program_in(home: Path, kind: str, words: str = "1000") -> list[str]:
    """The command that runs the page's program that knows nothing but the protocol."""
    code = only(kind, "/tokens 1000").replace("/tokens 1000", f"/tokens {words}")
    if kind == "python":
        return [sys.executable, "-W", "error", "-c", code]
    found = node()
    (home / "watch.mjs").write_text(code)
    (home / "node_modules").symlink_to(FOLDER / "node_modules")
    return [found, "watch.mjs"]


def check_interrupted(server: ServerProcess, shown: str) -> None:
    """Words were shown while they were written: some time after the twentieth the answer was stopped. And all that
    was written was shown."""
    assert THOUSAND.startswith(shown)
    assert 20 <= len(shown.split()) < 1000
    with Client(server.url, server.token) as client:
        (chat, *_) = client.chats(limit=1)["chats"]
        (_, answer) = client.messages(chat["id"])["messages"]
    assert answer["interrupted"]
    assert answer["content"] == [{"type": "text", "text": shown}]


def test_the_test_knows_every_block_of_the_page() -> None:
    assert [kind for kind, _ in BLOCKS] == ["text", "python", "python", "js", "sh until-interrupted", "sh"]


@pytest.mark.parametrize("kind", ["python", pytest.param("js", marks=node_marks())])
def test_a_program_that_knows_the_protocol_alone_prints_every_word_and_stops(
    server: ServerProcess, kind: str
) -> None:
    home = server.data.parent
    check_interrupted(server, run(home, *program_in(home, kind)))


def test_a_program_that_follows_prints_every_word(server: ServerProcess) -> None:
    command = [sys.executable, "-W", "error", "-c", only("python", "RemoteInstance")]
    assert run(server.data.parent, *command) == "".join(f"w{n} " for n in range(1, 101))


def test_the_program_for_pyzmq_needs_nothing_of_ours() -> None:
    assert re.findall(r"^(?:import|from) (\w+)", only("python", "import zmq\n"), re.MULTILINE) == [
        *("itertools", "json", "time", "pathlib", "zmq")
    ]


def test_the_page_names_the_package_that_is_tested() -> None:
    version = json.loads(WANTED.read_text())["dependencies"]["zeromq"]
    assert f"npm install zeromq@{version.split('.')[0]}`" in PAGE.read_text()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["python", pytest.param("js", marks=node_marks())])
async def test_a_program_that_misses_frames_prints_every_word_all_the_same(tmp_path: Path, kind: str) -> None:
    """Each draft's first words are lost on the way, and more; the program is the page's, with a shorter answer."""
    command = program_in(tmp_path, kind, "60")
    async with open_endpoint(tmp_path / ".antiphon") as (_, endpoint), Peer(endpoint, "llm.token") as listener:
        await listener.wait_subscribed(endpoint)  # otherwise nothing is published yet on a slow machine
        place = {"pub_endpoint": endpoint.pub_endpoint, "rpc_endpoint": endpoint.rpc_endpoint}
        (tmp_path / ".antiphon" / "instance.json").write_text(json.dumps(place))
        real, lost, numbers = endpoint._sockets.publish_nowait, [], itertools.count()

        def lossy(frame: bytes) -> None:
            if frame.startswith(b"llm.token") and next(numbers) % 7 == 0:
                lost.append(frame)
            else:
                real(frame)

        endpoint._sockets.publish_nowait = lossy  # type: ignore[method-assign]
        shown = await asyncio.to_thread(run, tmp_path, *command)
    assert lost
    assert shown == "".join(f"w{n} " for n in range(1, 61))


@needs_program("jq")
def test_one_terminal_shows_what_another_does(server: ServerProcess, tmp_path: Path) -> None:
    home, shown, errors = server.data.parent, tmp_path / "shown", tmp_path / "errors"
    with shown.open("wb") as out, errors.open("wb") as err:
        terminal = subprocess.Popen(
            ["bash", "-c", only("sh until-interrupted")],
            cwd=home,
            env=environment(),
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=heed_interrupts,
        )
    try:
        wait_heard(server, shown, errors)
        said = run(home, "bash", "-euo", "pipefail", "-c", only("sh"))
        assert server.instance_id[:8] in said
        assert f"{server.instance_id} responded in " in said
        assert "What do you hear?" in said, "the built-in model speaks of what it is asked"
        wait_until_sync(lambda: "And what now?" in shown.read_text(), what="the answer is shown")
        os.killpg(terminal.pid, signal.SIGINT)
        terminal.wait(DEADLINE_S)
    finally:
        if terminal.poll() is None:
            os.killpg(terminal.pid, signal.SIGKILL)
            terminal.wait()
    assert errors.read_text() == ""


def heed_interrupts() -> None:
    """As in a terminal: a process that a shell starts in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_heard(server: ServerProcess, shown: Path, errors: Path) -> None:
    """Until the terminal shows what is said: a subscription is in force a moment after it is made."""
    with Client(server.url, server.token) as client:
        chat = client.create_chat("/tokens 10000\n/rate 20")
        wait_until_sync(lambda: shown.read_text() or errors.read_text(), what="something is shown")
        client.interrupt(chat["id"], chat["turn_id"] or 0)
    assert errors.read_text() == ""
