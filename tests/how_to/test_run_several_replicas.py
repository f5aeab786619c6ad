"""The page's commands run as they stand there: three replicas behind a real nginx, with PostgreSQL and NATS, while
people read and write through it."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import httpx2
import pytest
import trustme

from antiphon.client import AsyncClient
from antiphon.core.draft import Draft
from antiphon.core.events import Delta, FactEvent
from antiphon.server.open_instance import open_instance
from client.servers import ServerProcess
from programs import needs_program
from support.ports import free_ports
from support.postgres import PostgresServer
from support.waiting import wait_until

from .replicas_page import BLOCKS, EXAMPLE, SHELL, Workplace, need

pytestmark = pytest.mark.anyio

PACE_S = 0.1


@pytest.fixture
def home() -> Iterator[Path]:
    """Readable for the workers of nginx, too, which run as another user when root starts it."""
    with tempfile.TemporaryDirectory(prefix="antiphon-how-to-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
async def workplace(home: Path, postgres_server: PostgresServer) -> AsyncIterator[Workplace]:
    path = need("nginx", "nats-server", "jq", "curl", "psql", "pg_dump", "pg_restore")
    workplace = Workplace(home, path, postgres_server)
    yield workplace
    workplace.close()
    for database in ("chats", "restored"):
        postgres_server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    postgres_server.execute("DROP ROLE IF EXISTS chats")


class Reader:
    """Follows a chat through nginx, whatever becomes of replicas, and finds every gap and repeat."""

    def __init__(self, client: AsyncClient, chat_id: str) -> None:
        self.kinds: list[str] = []
        self.words = 0
        self.draft = Draft(0)
        self._chat_id = chat_id
        self._client = client

    async def read(self) -> None:
        async with aclosing(self._client.watch(self._chat_id, after="0")) as events:
            async for event in events:
                if isinstance(event, FactEvent):
                    assert event.seq == len(self.kinds) + 1, "a gap, or a repeat"
                    self.kinds.append(event.type)
                    self.draft = self.draft if event.draft == self.draft.name else Draft(event.draft)
                    if event.type == "turn_ended":
                        return
                elif isinstance(event, Delta):
                    assert (event.draft, event.from_) == (self.draft.name, self.draft.position), "a gap, or a repeat"
                    assert self.draft.apply(event)
                    self.words += 1


class Writer:
    """Sends through nginx, each message under an id of its own, until stopped."""

    def __init__(self, client: AsyncClient, chat_id: str) -> None:
        self.chat_id = chat_id
        self.sent: list[str] = []
        self.is_done = False
        self._client = client

    async def write(self) -> None:
        while not self.is_done:
            text = f"/say {len(self.sent)}"
            await self._client.send(self.chat_id, text, client_message_id=f"id-{len(self.sent)}")
            self.sent.append(text)
            await asyncio.sleep(PACE_S)

    async def check(self) -> None:
        """Every message that was answered for is in the history once, and has its answer."""
        async with aclosing(self._client.watch(self.chat_id, until_idle=True)) as events:
            async for _ in events:
                pass
        texts: Counter[tuple[str, str]] = Counter()
        after = 0
        while messages := (await self._client.messages(self.chat_id, after_id=after, limit=500))["messages"]:
            texts.update((message["role"], message["content"][0]["text"]) for message in messages)
            after = messages[-1]["id"]
        assert texts == Counter(
            pair for text in self.sent for pair in (("user", text), ("assistant", text.removeprefix("/say ")))
        )


async def test_three_replicas_run_die_roll_and_are_restored_as_the_page_says(workplace: Workplace) -> None:
    await prepare(workplace)
    await workplace.run("nats-server")
    assert "rehearsal model" in await workplace.run("Who is there?")
    await workplace.run("8412.txt")
    token = (workplace.replicas[0] / "token").read_text().strip()
    async with AsyncClient(workplace.url, token) as client:
        assert "Before" in [chat["title"] for chat in (await client.chats())["chats"]]
        await trouble(workplace, client)
    await back_up(workplace)
    assert workplace.ran == set(SHELL)


def test_the_files_that_the_page_shows_are_those_of_the_example() -> None:
    assert [(name, code) for name, code in BLOCKS if name] == [("replica.sh", (EXAMPLE / "replica.sh").read_text())]


async def prepare(workplace: Workplace) -> None:
    """A database, and what was in a directory before."""
    assert "0001_chats.sql" in await workplace.run("CREATE ROLE")
    async with open_instance(data=workplace.folder.parent / ".antiphon") as instance:
        await instance.chats.create(title="Before")
    assert (await workplace.run("sqlite:../.antiphon")).count("No damage found: checked 1 chats") == 2


async def trouble(workplace: Workplace, client: AsyncClient) -> None:
    """One is killed, then all are exchanged, while three read and two write."""
    chat = await client.create_chat(content="/rate 30\n/tokens 20000")
    readers = [Reader(client, chat["id"]) for _ in range(3)]
    writers = [Writer(client, (await client.create_chat())["id"]) for _ in range(2)]
    async with asyncio.TaskGroup() as tasks:
        for reader in readers:
            tasks.create_task(reader.read())
            await wait_until(lambda reader=reader: reader.words, "the reader reads")
        watchers = re.findall(r"^antiphon_watchers (\S+)", await workplace.run("/metrics"), re.MULTILINE)
        assert watchers == ["1.0"] * 3, "each replica has one of the readers"
        for writer in writers:
            tasks.create_task(writer.write())
        assert "does not respond" in await workplace.run("kill -9")
        await heard_more(readers)
        await workplace.run("kill -TERM")
        await heard_more(readers)
        for writer in writers:
            writer.is_done = True
        turn_id = (await client.chat(chat["id"]))["turn_id"]
        assert turn_id is not None
        assert (await client.interrupt(chat["id"], turn_id))["interrupted"]
    assert readers[0].kinds == readers[1].kinds == readers[2].kinds
    assert readers[0].kinds.count("attempt_released") + readers[0].kinds.count("attempt_lost") >= 1
    for writer in writers:
        assert len(writer.sent) > 10
        await writer.check()


async def heard_more(readers: list[Reader]) -> None:
    """A word that was written from now on."""
    before = [reader.words for reader in readers]
    await wait_until(lambda: all(r.words > had for r, had in zip(readers, before, strict=True)), "all read on")


async def back_up(workplace: Workplace) -> None:
    """While NATS is away, for which nothing waits."""
    await workplace.shell("kill -9 $(cat nats.pid)")
    await workplace.run("pg_dump")
    assert "No damage found: checked 6 chats" in await workplace.run("pg_restore")
    assert "No damage found: checked 6 chats" in await workplace.run("sqlite:one-directory")
    await wait_until(lambda: all('"hints"' in log for log in workplace.logs()), "all say that NATS is away")
    await workplace.shell("nats-server -c nats.conf &")
    await wait_until(
        lambda: all('"recovered"' in log.rpartition('"hints"')[2] for log in workplace.logs()), "it is back"
    )


@needs_program("nginx")
async def test_nginx_speaks_tls_checks_names_and_asks_the_next_replica(home: Path) -> None:
    """Of the three that it knows only one is there."""
    path = need("nginx")
    server = ServerProcess(home / "data", "--behind-proxy")
    ports = dict(zip((8400, 8443, 8411, 8412), free_ports(4), strict=True)) | {8413: server.port}
    config = re.sub(r"# (listen 8443 ssl;|ssl_\w+ .*)", r"\1", (EXAMPLE / "nginx.conf").read_text())
    (home / "nginx.conf").write_text(re.sub(r"\b84\d\d\b", lambda m: str(ports[int(m[0])]), config))
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(home / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(home / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    nginx = await asyncio.create_subprocess_exec(
        "nginx", "-e", "stderr", "-p", ".", "-c", "nginx.conf", cwd=home, env=os.environ | {"PATH": path}
    )
    try:
        await wait_until((home / "nginx.pid").exists, "nginx runs")
        async with httpx2.AsyncClient(base_url=f"https://localhost:{ports[8443]}", verify=context) as client:
            answer = await client.post("/api/v1/session", json={"token": server.token})
            cookie = answer.headers["set-cookie"]
            assert "Secure" in cookie
            assert f"antiphon_session_{ports[8443]}=" in cookie
            for number in range(6):  # sends, too, to a replica that has not started
                answer = await client.post("/api/v1/chats", json={"title": "t" * 100, "content": "x" * 600_000})
                assert answer.status_code == 201, number
            assert (await client.get("/metrics")).status_code == 404
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports[8400]}") as client:
            assert (await client.get("/healthz")).status_code == 200
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get("/healthz", headers={"host": "evil.example"})
    finally:
        nginx.terminate()
        await nginx.wait()
        server.stop()
