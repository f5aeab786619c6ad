"""Fixtures of all tests."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

from antiphon.store.postgres.store import prepare_database
from programs import PRIVILEGES, is_ci, skip_without_programs
from quick import forbid_processes, mark_heavy
from slow_variants import mark_slow_variants
from support.postgres import PostgresMissing, PostgresServer
from support.s3 import ENVIRONMENT, S3Server, s3_running

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
"""Tests start some five hundred processes: without compiled files each of them compiles all that it imports."""

FOLDER = tempfile.TemporaryDirectory(prefix="antiphon-test-user-")
for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
    os.environ[variable] = str(Path(FOLDER.name) / variable)
"""Keys and histories of a user: tests leave those of the real one alone."""

LONG = (
    "replicas/test_trial.py",
    "replicas/test_fleet.py",
    "adapters/test_examples.py",
    "api/http/test_bad_input.py",
    "replicas/test_follow_other_replicas.py",
    "system/test_hostile_client.py",
    "store/test_checksums.py",
    "page/test_live.py",
    "shape/test_docs.py",
    "replicas/test_simulation.py",
    "cli/test_finding.py",
    "cli/test_chat.py",
    "how_to/test_run_several_replicas.py",
    "system/test_roles.py",
    "core/test_model_scenes.py",
    "worker/mcp/test_calls.py",
    "page/test_instances.py",
    "page/test_reading.py",
    "system/test_memory.py",
    "page/test_speed.py",
    "page/test_rendering.py",
    "system/test_every_protocol.py",
    "system/test_crashes.py",
    "bench/test_replicas.py",
)
"""The files that take longest begin first: one of them at the end would leave all cores but one idle."""

GROUPS = {
    "shape/test_layers.py": "parsed sources",
    "shape/test_sizes.py": "parsed sources",
    "page/test_live.py": "browser 1",
    "page/test_instances.py": "browser 1",
    "page/test_reading.py": "browser 1",
    "page/test_inbox.py": "browser 1",
    "page/test_mount.py": "browser 1",
    "page/test_open_calls.py": "browser 2",
    "page/test_files.py": "browser 2",
    "page/test_access.py": "browser 2",
    "page/test_hostile.py": "browser 2",
    "page/test_speed.py": "browser 2",
}
"""Files whose tests share what is expensive to start."""

WORKERS_PER_CORE = 3
"""Tests wait for servers, timers and browsers about as long as they compute."""


CI_SKIPS_NOTHING = "CI skips nothing, and this was to be skipped: "


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    is_accepted = hasattr(report, "wasxfail") or PRIVILEGES in str(report.longrepr)
    if report.skipped and is_ci() and not is_accepted:
        report.outcome, report.longrepr = "failed", CI_SKIPS_NOTHING + str(report.longrepr)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and is_ci():
        report.outcome, report.longrepr = "failed", CI_SKIPS_NOTHING + str(report.longrepr)
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return WORKERS_PER_CORE * cores


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """A file's tests run in one process, and all tests of a group's files: they share its browser."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return GROUPS.get(file.removeprefix("tests/"), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """What the whole suite's collection made stays to the end: no garbage collection needs to visit it again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order = {str(Path(__file__).parent / name): place for place, name in enumerate(LONG)}
    for item in items:
        skip_without_programs(item)
    mark_heavy(items)
    mark_slow_variants(config, items)
    items.sort(key=lambda item: order.get(str(item.path), len(order)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    forbid_processes(item)
    try:
        return (yield)
    finally:
        forbid_processes(None)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 server for all tests of this process. Its credentials are in the environment, where the product reads
    them."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        with s3_running() as server:
            yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One for all tests of this process, which neither stop it nor depend on what else is in it."""
    with tempfile.TemporaryDirectory(prefix="antiphon-postgres-") as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        try:
            with PostgresServer(Path(folder) / "server") as server:
                yield server
        except PostgresMissing as error:
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a database that has the schema and nothing in it."""
    url = postgres_server.create_database()
    with ThreadPoolExecutor(1) as thread:  # a loop runs in this one
        thread.submit(asyncio.run, prepare_database(url)).result()
    return url.rpartition("/")[2]


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A database of the test's own: it has the schema and nothing in it."""
    url = postgres_server.create_database(postgres_template)
    yield url
    postgres_server.drop_database(url)
