"""A replica opens its sockets when the lock of its data directory is free, and releases the lock if it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.local.lock import claim_data, is_held, read_instance_file
from antiphon.server.replica import LocalSockets
from support.waiting import wait_until
from worker.running import running

pytestmark = pytest.mark.anyio


async def test_a_replica_that_cannot_open_its_sockets_releases_the_lock_and_retries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    data = tmp_path / "data"
    async with running() as instance:
        sockets = LocalSockets(instance, data, claim_s=0.05)
        with claim_data(data, instance_id="another"):
            await sockets.start("http://127.0.0.1:1", "token")
            (data / "run").write_bytes(b"no folder")
        tries = Tries(monkeypatch)
        await wait_until(lambda: tries.count > 2)
        assert read_instance_file(data) is None
        await wait_until(lambda: not is_held(data))
        (data / "run").unlink()
        found = await wait_until(lambda: read_instance_file(data))
        assert found.instance_id == instance.instance_id
        assert is_held(data)
        await sockets.aclose()
        assert not is_held(data)


class Tries:
    """Counts how often the lock was claimed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from antiphon.server import replica

        self.count = 0
        claim = replica.claim_unless_held

        def counted(data: Path, *, instance_id: str) -> object:
            lock = claim(data, instance_id=instance_id)
            self.count += lock is not None
            return lock

        monkeypatch.setattr(replica, "claim_unless_held", counted)
