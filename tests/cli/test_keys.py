"""CURVE keys: only clients with an allowed key connect."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.client.zmq import RemoteInstance
from antiphon.errors import Forbidden, InstanceMissing, Unavailable
from antiphon.local.keys import Keys, make_keys, read_keys
from antiphon.local.lock import read_instance_file
from client.servers import ServerProcess
from support.waiting import DEADLINE_S

from .conftest import Run, run_in


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("keyed")
    assert run_in(home, "keys", "create", "server.json").code == 0
    server = ServerProcess(home / ".antiphon", "--drain-s", "0", "--bus-tcp", "--keys", str(home / "server.json"))
    yield server
    server.stop()


def ping(server: ServerProcess, keys: Keys | None, server_key: str, timeout_s: float = 1.0) -> str:
    found = read_instance_file(server.data)
    assert found is not None
    assert found.pub_endpoint is not None
    assert found.rpc_endpoint is not None

    async def asked() -> str:
        assert found.pub_endpoint is not None
        assert found.rpc_endpoint is not None
        async with RemoteInstance(
            found.pub_endpoint, found.rpc_endpoint, timeout_s=timeout_s, keys=keys, server_key=server_key
        ) as remote:
            return (await remote.ping()).status

    return asyncio.run(asked())


def wait_refused(server: ServerProcess, keys: Keys | None, server_key: str) -> str:
    """Why the instance refuses these keys: it must never answer. A busy machine may not finish the handshake in time,
    so a call that only timed out is made again with more time."""
    for timeout_s in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0):
        try:
            ping(server, keys, server_key, timeout_s)
        except Forbidden as error:
            return str(error)
        except Unavailable:
            continue
        pytest.fail("a peer without allowed keys was answered")
    pytest.fail("the instance refused nothing")


def test_a_keys_file_is_its_owners_and_is_not_overwritten(run_alone: Run, tmp_path: Path) -> None:
    made = run_alone("keys", "create", "mine.json", "--json")
    assert made.code == 0
    assert stat.S_IMODE(os.stat(tmp_path / "mine.json").st_mode) == 0o600
    keys = read_keys(tmp_path / "mine.json")
    assert made.json == {"public": keys.public, "allowed": {}}
    assert keys.secret not in made.out
    again = run_alone("keys", "create", "mine.json")
    assert again.code == 1
    assert "not overwritten" in again.err
    assert run_alone("keys", "show", "mine.json").out.strip() == keys.public


def test_invalid_files_and_keys_are_reported_as_sentences(run_alone: Run, tmp_path: Path) -> None:
    run_alone("keys", "create", "mine.json")
    assert "40 characters" in run_alone("keys", "allow", "mine.json", "short").err
    assert run_alone("keys", "revoke", "mine.json", "unknown").code == 1
    (tmp_path / "mine.json").chmod(0o644)
    shown = run_alone("keys", "show", "mine.json")
    assert shown.code == 1
    assert "chmod 600" in shown.err
    (tmp_path / "mine.json").write_text("no keys")
    (tmp_path / "mine.json").chmod(0o600)
    assert "is not a keys file" in run_alone("keys", "show", "mine.json").err
    assert "cannot be read" in run_alone("keys", "show", "missing.json").err
    alone = run_alone("serve", "--keys", "mine.json", "--port", "0")
    assert alone.code == 1
    assert "--bus-tcp" in alone.err
    broken = run_alone("serve", "--bus-tcp", "--keys", "mine.json", "--port", "0")
    assert broken.code == 1
    assert "is not a keys file" in broken.err


def test_only_allowed_keys_connect(keyed: ServerProcess) -> None:
    file = keyed.data.parent / "server.json"
    server_key, peer = read_keys(file).public, make_keys()
    assert "does not accept these keys" in wait_refused(keyed, peer, server_key)
    assert "requires keys" in wait_refused(keyed, None, "")
    with pytest.raises((Forbidden, Unavailable)):
        ping(keyed, peer, make_keys().public)
    home = keyed.data.parent
    assert run_in(home, "keys", "allow", "server.json", peer.public, "--name", "a peer").code == 0
    assert ping(keyed, peer, server_key, DEADLINE_S) == "ok"
    assert "a peer" in run_in(home, "keys", "show", "server.json").out
    assert run_in(home, "keys", "revoke", "server.json", "a peer").code == 0
    assert "does not accept these keys" in wait_refused(keyed, peer, server_key)


def test_the_command_line_finds_the_keys_of_the_instance(keyed: ServerProcess) -> None:
    home = keyed.data.parent
    assert run_in(home, "ping").code == 0
    assert run_in(home, "chat", "/say over keys").out.strip() == "over keys"
    assert '"is_silent":false' in run_in(home, "ps", "--json").out
    found = read_instance_file(keyed.data)
    assert found is not None
    assert found.pub_endpoint is not None
    assert found.pub_endpoint.startswith("tcp://127.0.0.1:")


def test_a_missing_instance_differs_from_one_that_does_not_respond() -> None:
    async def asked() -> None:
        async with RemoteInstance("ipc:///nowhere/pub", "ipc:///nowhere/rpc", timeout_s=0.1) as remote:
            await remote.ping()

    with pytest.raises(InstanceMissing):
        asyncio.run(asked())
