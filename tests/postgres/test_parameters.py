"""libpq's parameters in a URL: each is supported, or refused at once by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.errors import Invalid, Unavailable
from antiphon.postgres.address import read_address
from antiphon.postgres.connection import connect
from antiphon.postgres.parameters import REFUSED
from antiphon.server.backends import without_password
from antiphon.store.postgres.store import open_postgres_store
from antiphon.store.url import displayed_url
from support.postgres import PostgresServer
from support.stopwatch import Stopwatch

pytestmark = pytest.mark.anyio

URL = "postgresql://me@127.0.0.1:1/db"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://h/db", (("h", 5432),)),
        ("postgresql://h:1/db", (("h", 1),)),
        ("postgresql://a:1,b:2,c/db", (("a", 1), ("b", 2), ("c", 5432))),
        ("postgres://u:p%40ss@[::1]:7/db", (("::1", 7),)),
        ("postgresql:///db?host=/run/x&port=6", (("/run/x", 6),)),
        ("postgresql://%2Frun%2Fx/db", (("/run/x", 5432),)),
        ("postgresql:///db?host=a,b&port=1,2", (("a", 1), ("b", 2))),
        ("postgresql:///db", ()),
    ],
)
def test_hosts_are_read(url: str, hosts: tuple[tuple[str, int], ...]) -> None:
    assert read_address(url).hosts == hosts


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/db",
        "postgresql://h:x/db",
        "postgresql://h:0/db",
        "postgresql://[::1/db",
        "postgresql://h/db?a",
        "postgresql:///db?host=a,b&port=1,2,3",
        f"postgresql://{','.join('abcdefghijklmnopqrs')}/db",
        "",
    ],
)
def test_a_text_that_is_not_the_url_of_a_database_is_invalid(url: str) -> None:
    with pytest.raises(Invalid):
        read_address(url)


@pytest.mark.parametrize("name", REFUSED)
def test_a_parameter_that_is_not_supported_is_refused_by_name(name: str) -> None:
    with pytest.raises(Invalid, match=rf"{name}: it is not supported; \w+"):
        read_address(f"{URL}?{name}=1")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sslmode=yes", "sslmode: .*verify-full"),
        ("target_session_attrs=read-only", "target_session_attrs: .*read-write"),
        ("target_session_attrs=prefer-standby", "target_session_attrs"),
        ("client_encoding=LATIN1", "client_encoding"),
        ("gssencmode=require", "gssencmode"),
        ("channel_binding=require", "channel_binding"),
        ("replication=database", "replication"),
        ("connect_timeout=soon", "connect_timeout: a whole number"),
        ("keepalives_idle=-1", "keepalives_idle"),
        ("keepalives=2", "keepalives"),
        ("sslrootcert=/nowhere/ca.pem", "sslrootcert: there is no file /nowhere/ca.pem"),
        ("sslrootcert=system", "sslrootcert"),
        ("sslcert=/nowhere/c", "sslcert"),
        ("options=-d%205", "options"),
        ("options=-c", "options"),
        ("options=-c%20'x", "options"),
        ("service=nothing", "service: .*has no service 'nothing'"),
        ("no-such%20name=1", "there is no such parameter"),
        ("direct=postgresql%3A%2F%2Fh%2Fdb%3Fdirect%3Dh%3A1", "direct"),
    ],
)
def test_a_value_that_is_not_supported_is_refused_by_name(
    query: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with pytest.raises(Invalid, match=words):
        read_address(f"{URL}?{query}")


def test_a_service_supplies_the_parameters_that_the_url_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services"
    services.write_text("[chats]\nhost=h\nport=7\nuser=u\npassword=50%\nconnect_timeout=4\n[bad]\nrequirepeer=x\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    address = read_address("postgresql:///db?service=chats&user=me")
    assert (address.hosts, address.user, address.password) == ((("h", 7),), "me", "50%")
    assert (address.database, address.parameters.connect_timeout_s) == ("db", 4)
    with pytest.raises(Invalid, match="requirepeer"):
        read_address("postgresql:///db?service=bad")


async def test_settings_in_options_and_by_the_servers_own_names_are_applied(postgres_url: str) -> None:
    query = "options=-c%20work_mem%3D7MB%20--lock-timeout%3D5s&application_name=mine&timezone=Asia/Tokyo"
    connection = await connect(f"{postgres_url}?{query}")
    try:
        names = ("work_mem", "lock_timeout", "application_name", "TimeZone", "jit")
        shown = [await connection.fetchval(f"SHOW {name}") for name in names]
        assert shown == ["7MB", "5s", "mine", "Asia/Tokyo", "off"]
    finally:
        await connection.close()


async def test_a_setting_is_quoted(postgres_url: str) -> None:
    connection = await connect(f"{postgres_url}?application_name=a'%3B%20DROP%20TABLE%20x%3B%20--%5C'")
    try:
        assert await connection.fetchval("SHOW application_name") == "a'; DROP TABLE x; --\\'"
    finally:
        await connection.close()


async def test_an_unknown_setting_is_refused_at_once_by_the_server(postgres_url: str) -> None:
    stopwatch = Stopwatch()
    with pytest.raises(Unavailable, match=r'unrecognized configuration parameter "sslmod" \(42704\)'):
        await open_postgres_store(f"{postgres_url}?sslmod=require")
    assert stopwatch.elapsed_s() < 5


async def test_connect_timeout_is_honoured(postgres_url: str) -> None:
    store = await open_postgres_store(f"{postgres_url}?connect_timeout=3&keepalives=1&keepalives_idle=9")
    await store.check()
    await store.aclose()


async def test_connect_timeout_limits_a_start_without_an_answer() -> None:
    stopwatch = Stopwatch()
    with pytest.raises(Unavailable, match="does not answer: Connect call failed"):
        await open_postgres_store(f"{URL}?connect_timeout=1")
    assert stopwatch.elapsed_s() < 5


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_required_tls_is_refused_at_once_by_a_server_without_it(
    mode: str, postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    import trustme

    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    stopwatch = Stopwatch()
    with pytest.raises(Unavailable, match="the server has no TLS, which sslmode asks for"):
        await open_postgres_store(f"{postgres_url}?sslmode={mode}&sslrootcert={ca}")
    assert stopwatch.elapsed_s() < 5


def test_a_displayed_url_contains_no_secrets() -> None:
    url = "postgresql://h/db?password=sesame&direct=postgresql%3A%2F%2Fu%3Asesame%40h%2Fdb"
    assert "sesame" not in without_password(url)
    assert "sesame" not in displayed_url(url)
