"""The verbs that open a data directory themselves."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner

from antiphon.cli import antiphon
from antiphon.client import Client
from client.servers import ServerProcess
from support.postgres import PostgresServer

from .conftest import Run, run_in


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A directory in which an instance ran."""
    server = ServerProcess(tmp_path / ".antiphon")
    with Client(server.url, server.token) as client:
        list(client.watch(client.create_chat("/say Hello")["id"], until_idle=True))
    assert server.stop() == 0
    return tmp_path


def test_migrate_creates_a_database_and_reports_it_once(run_alone: Run) -> None:
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


def test_doctor_finds_no_damage_in_a_sound_directory(used: Path) -> None:
    done = run_in(used, "doctor")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("No damage found: checked 1 chats with 5 facts")
    assert run_in(used, "doctor", "--json").json["is_sound"] is True


def test_doctor_reports_damage(used: Path) -> None:
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
def test_a_directory_in_use_is_not_opened(run: Run, server: ServerProcess, verb: str) -> None:
    done = run(verb)
    assert done.code == 1
    assert f"is in use by the process {server._process.pid}" in done.err


def test_doctor_requires_a_database(run_alone: Run) -> None:
    assert run_alone("doctor").code == 1


def test_bench_lists_its_scenes_for_an_unknown_name(run_alone: Run) -> None:
    done = run_alone("bench", "no such scene")
    assert done.code == 2
    assert "core" in done.err


def test_bench_without_a_checkout_says_where_the_benchmarks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.version.__file__", str(tmp_path / "site-packages" / "antiphon" / "__init__.py"))
    done = CliRunner().invoke(antiphon, ["bench"])
    assert done.exit_code == 1
    assert "run `./dev bench` in a checkout" in done.stderr


def test_a_directory_is_copied_to_postgresql_and_both_are_sound(used: Path, postgres_url: str) -> None:
    move = ("migrate", "--from", "sqlite:.antiphon", "--to", postgres_url)
    moved = run_in(used, *move, "--json")
    assert moved.json["copied"]["chats"] == 1
    assert "facts: 5 rows" in moved.err
    for place in ("sqlite:.antiphon", postgres_url):
        done = run_in(used, "doctor", "--store", place)
        assert done.out.startswith("No damage found: checked 1 chats with 5 facts"), done.err
    again = run_in(used, *move)
    assert (again.code, "into an empty one only" in again.err) == (1, True)


def test_migrate_creates_the_tables_of_a_postgresql_database(run_alone: Run, postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    unready = run_alone("doctor", "--store", url)
    assert (unready.code, "run `antiphon migrate`" in unready.err) == (1, True)
    made = run_alone("migrate", "--store", url, "--json").json
    assert made["applied"][0] == "0001_chats.sql"
    assert made["schema_version"] == len(made["applied"])
    finished = run_alone("migrate", "--store", url, "--finish").out
    assert finished.startswith("Nothing to do")
    assert "Nothing to finish" in finished
    postgres_server.drop_database(url)


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate", "--from", "sqlite:x"),
        ("migrate", "--to", "postgresql://me:sesame@127.0.0.1/x"),
        ("migrate", "--store", "mysql://me:sesame@127.0.0.1/x"),
        ("migrate", "--store", "sqlite:x", "--data", "y"),
        ("migrate", "--from", "sqlite:x", "--to", "sqlite:y", "--finish"),
        ("doctor", "--store", "sqlite:"),
    ],
)
def test_an_invalid_store_url_is_reported(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(antiphon, arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("antiphon: ")
    assert "sesame" not in done.output
