"""A change of the configuration on one replica is used by the next model call of every other replica."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from antiphon.testing.model_server import Answer, FakeModelServer, Fault, Reply, SeenRequest
from cli.conftest import run_in
from support.waiting import DEADLINE_S, wait_until

from .fleet import Replica, ReplicaFleet
from .test_fleet import follow

pytestmark = pytest.mark.anyio


async def shown(fleet: ReplicaFleet, path: str, name: str, wanted: Any) -> None:
    """Wait until every member returns this value."""
    for member in fleet.members:
        await wait_until(
            lambda member=member: member.ask("GET", path, token=fleet.token),
            accept=lambda answer: answer[1][name] == wanted,
        )


async def instances_that_run(fleet: ReplicaFleet, server: FakeModelServer, count: int) -> set[str]:
    """The instances that run the turns of `count` new chats, once the model server has all of their requests."""
    found = set()
    calls = len(server.requests) + count
    for _ in range(count):
        status, chat = await fleet.ask("POST", "/chats", {"content": "hello"})
        assert status == 201
        follower = await follow(fleet.members[0], chat["id"], fleet.token)
        found.add((await follower.until("attempt_started")).data["instance_id"])
    await wait_until(lambda: len(server.requests) >= calls)
    return found


@pytest.mark.slow  # tests/worker/test_configured_models.py has two instances on one store
async def test_a_change_is_used_by_the_next_model_call_of_every_replica(tmp_path: Path, postgres_url: str) -> None:
    options = ("--allow-outbound", "127.0.0.1", "--drain-s", "0")
    fleet = ReplicaFleet(tmp_path / "fleet", store=postgres_url, size=2, options=options, ACME_KEY="sk-canary")
    async with FakeModelServer(default=lambda request: Answer(tokens_per_s=2)) as server:
        await fleet.start()
        try:
            first, second = fleet.members
            provider = {"name": "acme", "kind": "openai", "base_url": server.base_url, "secret": "env:ACME_KEY"}
            assert (await first.ask("POST", "/providers", provider, token=fleet.token))[0] == 201
            usual = {"name": "usual", "model": "acme:a", "parameters": {"seed": 1}, "is_default": True}
            _, config = await second.ask("POST", "/model-configs", usual, token=fleet.token)
            await shown(fleet, "/model-configs", "model_configs", [config])
            assert len(await instances_that_run(fleet, server, 6)) == 2
            assert {seen.body["seed"] for seen in server.requests} == {1}
            seen_before = len(server.requests)
            path = f"/model-configs/{config['id']}"
            _, changed = await first.ask("PATCH", path, {"parameters": {"seed": 2}}, token=fleet.token)
            await first.ask("PUT", "/me/prompt", {"prompt": "Be brief."}, token=fleet.token)
            await shown(fleet, "/model-configs", "model_configs", [changed])
            await shown(fleet, "/me/prompt", "prompt", "Be brief.")
            assert len(await instances_that_run(fleet, server, 6)) == 2
            later = server.requests[seen_before:]
            assert {seen.body["seed"] for seen in later} == {2}
            assert {seen.body["messages"][0]["content"] for seen in later} == {"Be brief."}
            assert {seen.headers["authorization"] for seen in server.requests} == {"Bearer sk-canary"}
        finally:
            await fleet.close_streams()
            await fleet.kill()


# --- secrets

SEALED, NAMED, WRONG = "sk-sealed-5d41402abc", "sk-named-4b2a76b971", "sk-wrong-9d911017c5"


def repeat_key(request: SeenRequest) -> Reply:
    """A model server whose failures contain the key of the request in every field."""
    key = request.headers["authorization"].removeprefix("Bearer ")
    if request.body["model"] == "fails":
        return Fault(status=401, message=f"{key} is wrong", code=key, type=key, headers={"x-key": key})
    if request.body["model"] == "breaks":
        return Answer(error_after=1, error={"message": key, "code": key, "type": "invalid_request_error"})
    return Answer(text="hello")


async def rows_of(url: str) -> str:
    """All rows of the database."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        return repr([[tuple(row) for row in await connection.fetch(f'TABLE "{name[0]}"')] for name in names])
    finally:
        await connection.close()


async def bodies_of(fleet: ReplicaFleet, chat_ids: list[str]) -> str:
    """The responses of every member, inside and outside of the API."""
    paths = ["/metrics", "/readyz", "/healthz", *(f"/api/v1{path}" for path in ("/providers", "/model-configs"))]
    paths += [f"/api/v1{path}" for path in ("/chats", "/inbox", "/instances", "/models", "/providers/missing")]
    paths += [f"/api/v1/chats/{chat_id}{more}" for chat_id in chat_ids for more in ("", "/messages")]
    paths += [f"/api/v1/chats/{chat_id}/stream?until=idle&after=0" for chat_id in chat_ids]
    answers = []
    for member in fleet.members:
        base, headers = f"http://127.0.0.1:{member.port}", {"Authorization": f"Bearer {fleet.token}"}
        async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=DEADLINE_S) as client:
            answers += [await client.get(path) for path in paths]
    assert sum(answer.status_code == 200 for answer in answers) >= len(answers) - 4, [a.status_code for a in answers]
    return "".join(f"{answer.headers} {answer.text}" for answer in answers)


@pytest.mark.slow  # tests/worker/test_configured_models.py and tests/api/http/test_configs.py test one process
async def test_a_secret_is_sent_only_to_its_model_server(tmp_path: Path, postgres_url: str) -> None:
    """Not shown by the command line, two replicas, their logs and files, with a model server that repeats it."""
    output = ""

    async def config(*words: str, stdin: str = "", code: int = 0) -> None:
        nonlocal output
        where = ("--data", str(fleet.members[0].data))
        done = await asyncio.to_thread(run_in, tmp_path, "config", *words, *where, stdin=stdin)
        output += done.out + done.err
        assert done.code == code, done

    assert run_in(tmp_path, "config", "keygen", "key").code == 0
    options = ("--allow-outbound", "127.0.0.1", "--drain-s", "0", "--secret-key-file", str(tmp_path / "key"))
    fleet = ReplicaFleet(tmp_path / "fleet", store=postgres_url, size=2, options=options, ACME_KEY=NAMED)
    async with FakeModelServer(default=repeat_key) as server:
        await fleet.start()
        try:
            address, sealed = ("--base-url", server.base_url), ("providers", "add", "sealed", "--secret-stdin")
            await config(*sealed, *address, "--json", stdin=SEALED)
            await config("providers", "add", "named", *address, "--secret-env", "ACME_KEY")
            await config("providers", "list", "--json")
            await config(*sealed, *address, stdin=WRONG, code=1)  # another provider has this name
            await config(*sealed, "--base-url", "nowhere", "--json", stdin=WRONG, code=1)
            await config("providers", "set", "missing", "--secret-stdin", "--json", stdin=WRONG, code=1)
            chat_ids = []
            for model in (f"{name}:{model}" for name in ("sealed", "named") for model in ("m", "fails", "breaks")):
                for member in fleet.members:
                    await shown_model(member, model, fleet.token)
                    body = {"content": "hello", "model": model}
                    status, chat = await member.ask("POST", "/chats", body, token=fleet.token)
                    assert status == 201, chat
                    chat_ids.append(chat["id"])
            await settled(fleet, chat_ids)
            output += await bodies_of(fleet, chat_ids) + await rows_of(postgres_url)
        finally:
            await fleet.kill()
    output += fleet.log()
    output += "".join(f.read_text("utf-8", "replace") for f in fleet.data.rglob("*") if f.is_file())
    assert "refused the key" in output, "the failures are reported"
    assert "sealed" in output
    assert [secret for secret in (SEALED, NAMED, WRONG) if secret in output] == []
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {SEALED}", f"Bearer {NAMED}"}
    other_fields = [
        {**seen.headers, "authorization": "", "": repr((seen.path, seen.body))} for seen in server.requests
    ]
    assert not any(secret in repr(other_fields) for secret in (SEALED, NAMED))


async def shown_model(member: Replica, model: str, token: str) -> None:
    """Wait until the member lists the provider of a model."""
    await wait_until(
        lambda: member.ask("GET", "/providers", token=token),
        accept=lambda answer: model.split(":")[0] in str(answer[1]),
    )


async def settled(fleet: ReplicaFleet, chat_ids: list[str]) -> None:
    """Wait until every turn has completed or failed."""
    for chat_id in chat_ids:
        await wait_until(
            lambda chat_id=chat_id: fleet.ask("GET", f"/chats/{chat_id}"),
            accept=lambda answer: answer[1]["status"] in ("waiting", "error"),
        )
