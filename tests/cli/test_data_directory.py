"""Verbs that open a data directory themselves."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from antiphon.client import Client
from client.servers import ServerProcess

from .conftest import Run, run_in


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A directory in which an instance ran."""
    server = ServerProcess(tmp_path / ".antiphon")
    with Client(server.url, server.token) as client:
        list(client.watch(client.create_chat("/say Hello")["id"], until_idle=True))
    assert server.stop() == 0
    return tmp_path


def test_migrate_makes_a_database_and_says_so_once(run_alone: Run) -> None:
    first = run_alone("migrate", "--json").json
    assert first["applied"]
    assert first["schema_version"] == len(first["applied"])
    assert run_alone("migrate", "--json").json == {"schema_version": first["schema_version"], "applied": []}
    assert run_alone("migrate").out.startswith("Nothing to do")


def test_migrate_refuses_a_newer_database(used: Path) -> None:
    connection = apsw.Connection(str(used / ".antiphon" / "antiphon.db"))
    connection.pragma("user_version", 9999)
    connection.close()
    done = run_in(used, "migrate")
    assert done.code == 1
    assert "use a newer Antiphon" in done.err


def test_doctor_finds_nothing_where_nothing_is_wrong(used: Path) -> None:
    done = run_in(used, "doctor")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("All is well: 1 chats with 5 facts")
    assert run_in(used, "doctor", "--json").json["is_sound"] is True


def test_doctor_finds_what_was_damaged(used: Path) -> None:
    connection = apsw.Connection(str(used / ".antiphon" / "antiphon.db"))
    connection.execute("DELETE FROM facts WHERE seq = 3")
    connection.close()
    done = run_in(used, "doctor")
    assert done.code == 1
    assert done.out.startswith("- ")
    report = run_in(used, "doctor", "--json")
    assert (report.code, report.json["is_sound"]) == (1, False)
    assert report.json["findings"]


@pytest.mark.parametrize("verb", ["migrate", "doctor"])
def test_a_directory_in_use_is_left_alone(run: Run, server: ServerProcess, verb: str) -> None:
    done = run(verb)
    assert done.code == 1
    assert f"is in use by the process {server._process.pid}" in done.err


def test_doctor_wants_a_database(run_alone: Run) -> None:
    assert run_alone("doctor").code == 1


def test_bench_names_its_scenes(run_alone: Run) -> None:
    pytest.importorskip("antiphon.bench")
    done = run_alone("bench", "no such scene")
    assert done.code == 2
    assert "core" in done.err
