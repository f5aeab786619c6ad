"""`antiphon serve` from outside: what it refuses, what it leaves, how it ends."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import ssl
import stat
import subprocess
import urllib.request
from pathlib import Path

import pytest
import trustme

from antiphon.local.lock import DataDirectoryTaken, claim_data, read_instance_file
from antiphon.server.lifetime import until_stopped
from programs import PRIVILEGES
from support.stopwatch import Stopwatch
from support.waiting import DEADLINE_S, wait_until, wait_until_sync

from .api_client import random_chat_id
from .process import ServerProcess, serve_command, server_process
from .wire import Stream, Wire, make_request

pytestmark = pytest.mark.anyio

AT_ONCE = ("--drain-s", "0")


def _refused(*options: str, data: Path, port: int = 0) -> tuple[int, str]:
    """The exit code and what was said on stderr by a serve that does not start."""
    done = subprocess.run(
        serve_command(data, *options, port=port), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


# --- refusing to start ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
def test_it_is_not_reachable_from_other_machines_by_accident(tmp_path: Path, host: str) -> None:
    code, said = _refused("--host", host, data=tmp_path / "data")
    assert code in (1, 2)
    assert "--tls-cert" in said
    assert "--behind-proxy" in said
    assert not (tmp_path / "data" / "instance.json").exists()


def test_behind_a_proxy_it_may_listen_anywhere(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", *AT_ONCE, "--host", "0.0.0.0", "--behind-proxy") as running:
        assert running.ask("GET", "/chats")[0] == 200
        assert running.stop() == 0


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = _refused(data=tmp_path / "data", port=port)
    assert code == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in said
    assert "--port" in said
    assert not (tmp_path / "data" / "instance.json").exists()


def test_a_data_directory_has_one_holder_and_the_second_says_which(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", *AT_ONCE) as running:
        with pytest.raises(DataDirectoryTaken) as refused, claim_data(tmp_path / "data", instance_id="another"):
            pass
        said = str(refused.value)
        assert f"the process {running.process.pid}" in said
        assert running.instance_id in said
        assert running.url in said
        assert "--data" in said
        found = read_instance_file(tmp_path / "data")
        assert found is not None
        assert found.instance_id == running.instance_id, "the second leaves the first one's file alone"
        assert running.ask("GET", "/chats")[0] == 200


def test_a_certificate_goes_together_with_its_key(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_text("no certificate")
    code, said = _refused("--tls-cert", str(certificate), data=tmp_path / "data")
    assert code == 2
    assert "--tls-key" in said
    code, said = _refused("--tls-cert", str(certificate), "--tls-key", str(certificate), data=tmp_path / "data")
    assert code == 1
    assert "certificate" in said
    assert not (tmp_path / "data" / "instance.json").exists(), "it was never ready"


def test_a_missing_agent_is_reported(tmp_path: Path) -> None:
    done = subprocess.run(
        serve_command(tmp_path / "data", app=str(tmp_path / "no.py:agent")),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "no.py" in done.stderr


# --- what it leaves ---------------------------------------------------------------------------------


def test_the_instance_file_is_there_while_it_is_ready_and_only_for_its_owner(tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = ServerProcess(data, *AT_ONCE)
    try:
        while read_instance_file(data) is None:  # as soon as it is there requests are answered
            assert running.process.poll() is None, running.log
        found = running.wait_ready()
        assert running.ask("GET", "/session")[1]["owner"] == "admin"
        assert found.pid == running.process.pid
        assert found.role == "primary"
        assert found.token == (data / "token").read_text().strip()
        for name in ("instance.json", "token", "antiphon.lock"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
        whole = json.loads((data / "instance.json").read_text())
        assert {"version", "started_at", "pub_endpoint", "rpc_endpoint", "http_url"} <= whole.keys()
        assert whole["pub_endpoint"].endswith("pub.sock")
        assert whole["rpc_endpoint"].endswith("rpc.sock")
        assert running.stop() == 0
        assert not (data / "instance.json").exists()
        assert not [path.name for path in data.iterdir() if path.name.startswith(".instance")]
    finally:
        running.kill()


def test_the_token_stays_the_same_whatever_happens(tmp_path: Path) -> None:
    data = tmp_path / "data"
    tokens, ids = set(), set()
    for stop in (ServerProcess.stop, ServerProcess.kill, ServerProcess.stop):
        with server_process(data, *AT_ONCE) as running:
            assert running.ask("GET", "/chats")[0] == 200
            tokens.add(running.token)
            ids.add(running.instance_id)
            stop(running)
    assert len(tokens) == 1
    assert len(ids) == 3


@pytest.mark.parametrize("runtime", ["nowhere", "a file"])
def test_without_a_runtime_directory_it_runs_all_the_same(
    tmp_path: Path, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / runtime))
    with server_process(tmp_path / "data", *AT_ONCE) as running:
        assert running.ask("GET", "/chats")[0] == 200
        assert running.stop() == 0


async def test_a_task_that_dies_takes_the_server_down() -> None:
    async def fail() -> None:
        raise ValueError("a socket broke")

    failing, going_on = asyncio.create_task(fail()), asyncio.create_task(asyncio.Event().wait())
    with pytest.raises(ValueError, match="a socket broke"):
        await until_stopped(asyncio.Event(), going_on, None, failing)  # type: ignore[arg-type]
    going_on.cancel()


def test_an_empty_token_file_is_rewritten(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data, *AT_ONCE) as running:
        running.stop()
    (data / "token").write_text("")
    with server_process(data, *AT_ONCE) as running:
        assert running.token
        assert running.ask("GET", "/chats")[0] == 200
        assert running.ask("POST", "/session", {"token": ""})[0] == 401
        running.stop()


def test_after_its_own_token_was_revoked_a_start_makes_another(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data, *AT_ONCE) as running:
        first = running.token
        (token,) = running.ask("GET", "/tokens")[1]["tokens"]
        assert running.ask("DELETE", f"/tokens/{token['id']}")[0] == 204
        assert running.ask("GET", "/chats")[0] == 401
        running.stop()
    with server_process(data, *AT_ONCE) as running:
        assert running.token != first
        assert running.ask("GET", "/chats")[0] == 200
        running.stop()


def test_a_moved_data_directory_is_detected_and_commands_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data, *AT_ONCE) as running:
        assert running.ask("POST", "/chats", {})[0] == 201
        data.rename(tmp_path / "moved")
        wait_until_sync(lambda: "data_lost" in running.log, what="the move is logged")
        wait_until_sync(lambda: '"degraded"' in running.log, what="the log has the failing part")
        assert running.ask("GET", "/readyz", prefix="")[0] == 503
        assert running.ask("POST", "/chats", {})[0] == 503
        running.stop()


def test_after_a_kill_the_file_it_left_is_replaced(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data, *AT_ONCE) as running:
        running.kill()
        left = read_instance_file(data)
        assert left is not None, "a kill leaves it behind"
    with server_process(data, *AT_ONCE) as running:
        assert running.instance_id != left.instance_id
        assert running.stop() == 0


# --- TLS --------------------------------------------------------------------------------------------


async def test_tls_works_with_streams_too(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    options = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    with server_process(tmp_path / "data", *AT_ONCE, *options) as running:
        assert running.url.startswith("https://")
        body = {"content": "/tokens 2000\n/rate 0"}
        status, chat = await asyncio.to_thread(running.ask, "POST", "/chats", body, tls=trusting)
        assert status == 201
        wire = await Wire.open(running.port, tls=trusting)
        path = f"/api/v1/chats/{chat['id']}/stream?after=0&until=idle"
        wire.send(make_request("GET", path, token=running.token, headers={"host": "localhost"}))
        status, headers = await wire.read_head()
        assert status == 200
        events = await Stream(wire, headers).rest()
        assert events[-1].json["reason"] == "idle"
        await wire.close()
        plain = await Wire.open(running.port)
        plain.send(make_request("GET", "/healthz"))
        assert not (await plain.read_to_end()).startswith(b"HTTP/1.1 200")
        await plain.close()
        assert running.stop() == 0


# --- the end ----------------------------------------------------------------------------------------

STREAMS = 1_000


@pytest.fixture
def many_descriptors() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * STREAMS + 500
    if most != resource.RLIM_INFINITY and most < wanted:
        pytest.skip(f"{PRIVILEGES}{most} descriptors are too few")
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def test_a_thousand_streams_end_with_bye_and_the_process_stops_soon(
    tmp_path: Path, many_descriptors: None
) -> None:
    with server_process(tmp_path / "data", *AT_ONCE) as running:
        ask = asyncio.to_thread
        chat_ids = [(await ask(running.ask, "POST", "/chats", {"title": str(n)}))[1]["id"] for n in range(20)]
        streams = []
        for start in range(0, STREAMS, 100):
            wires = await asyncio.gather(*(Wire.open(running.port) for _ in range(100)))
            for n, wire in enumerate(wires, start):
                path = "/api/v1/feed" if n % 10 == 0 else f"/api/v1/chats/{chat_ids[n % 20]}/stream"
                wire.send(make_request("GET", path, token=running.token))
            for wire in wires:
                status, headers = await wire.read_head()
                assert status == 200
                streams.append(Stream(wire, headers))
        reading = asyncio.gather(*(stream.rest() for stream in streams))
        await asyncio.gather(*(wait_seen(stream) for stream in streams))
        stopwatch = Stopwatch(running.process.pid)
        running.signal()
        ended = await reading
        code = await asyncio.to_thread(running.process.wait, DEADLINE_S)
        took_s = stopwatch.elapsed_s()
        assert code == 0, running.log
        assert all(events[-1].type == "bye" for events in ended)
        assert {events[-1].json["reason"] for events in ended} == {"shutdown"}
        assert {sum(event.type == "bye" for event in events) for events in ended} == {1}
        assert all(stream.has_ended for stream in streams), "each stream was ended as HTTP wants it"
        assert took_s < 2, f"it took {took_s:.2f} s"
        for stream in streams:
            await stream.close()


async def wait_seen(stream: Stream) -> None:
    """Its first event has come."""
    await wait_until(lambda: stream.seen)


async def test_unread_streams_do_not_prevent_the_stop(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", *AT_ONCE) as running:
        body = {"content": "/tokens 1000000\n/rate 0"}
        chat_id = (await asyncio.to_thread(running.ask, "POST", "/chats", body))[1]["id"]
        stuck = [await Wire.open(running.port, receive_bytes=4096) for _ in range(10)]
        for wire in stuck:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            wire.send(make_request("GET", f"/api/v1/chats/{chat_id}/stream?after=0", token=running.token))
        await asyncio.to_thread(running.ask, "GET", "/chats")
        stopwatch = Stopwatch(running.process.pid)
        running.signal()
        assert await asyncio.to_thread(running.process.wait, DEADLINE_S) == 0
        assert stopwatch.elapsed_s() < 6
        for wire in stuck:
            await wire.close()


def model_calls(running: ServerProcess) -> float:
    """How many model calls the instance has begun."""
    request = urllib.request.Request(f"{running.url}/metrics", headers={"Authorization": f"Bearer {running.token}"})
    with urllib.request.urlopen(request) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("antiphon_model_calls_total"))


def test_a_running_turn_may_finish_while_it_drains(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data, "--drain-s", "20") as running:
        chat_id = running.ask("POST", "/chats", {"content": "/stall 0.5\n/say finished"})[1]["id"]
        wait_until_sync(
            lambda: model_calls(running), "the model is called (a turn not yet started would be handed over)"
        )
        assert running.stop() == 0
        assert "Traceback" not in running.log
    with server_process(data, *AT_ONCE) as running:
        page = running.ask("GET", f"/chats/{chat_id}/messages")[1]
        assert page["messages"][1]["content"] == [{"type": "text", "text": "finished"}]
        assert _tries(running, chat_id) == 1


def test_a_turn_that_does_not_finish_is_handed_over_and_the_next_start_finishes_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data, "--drain-s", "0.2") as running:
        chat_id = running.ask("POST", "/chats", {"content": "/say begun \n/stall 1.5\n/say finished"})[1]["id"]
        assert running.stop() == 0
        assert "Traceback" not in running.log
    with server_process(data, *AT_ONCE) as running:
        wait_until_sync(lambda: _is_waiting(running, chat_id), what="the turn is finished")
        page = running.ask("GET", f"/chats/{chat_id}/messages")[1]
        assert [message["role"] for message in page["messages"]] == ["user", "assistant"]
        assert page["messages"][1]["content"] == [{"type": "text", "text": "begun finished"}]
        assert _tries(running, chat_id) == 2
        assert running.stop() == 0


def _tries(running: ServerProcess, chat_id: str) -> int:
    """How many attempts the chat's turns took."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as peer:
        path = f"/api/v1/chats/{chat_id}/stream?after=0&until=idle"
        peer.sendall(make_request("GET", path, token=running.token, headers={"connection": "close"}))
        data = b""
        while piece := peer.recv(65536):
            data += piece
    return data.count(b"event: attempt_started\n")


def test_no_new_turn_begins_while_it_drains_but_sends_are_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data, "--drain-s", "20") as running:
        chat_id = running.ask("POST", "/chats", {"content": "/stall 2\n/say one"})[1]["id"]
        wait_until_sync(
            lambda: model_calls(running), "the model is called (a turn not yet started would be handed over)"
        )
        running.signal()
        wait_until_sync(lambda: _is_draining(running), what="it drains")
        other = running.ask("POST", "/chats", {"id": random_chat_id(), "content": "/say two"})
        queued = running.ask("POST", f"/chats/{chat_id}/messages", {"content": "/say three"})
        assert (other[0], queued[0]) == (201, 202), "what comes while it drains is kept"
        assert running.process.wait(DEADLINE_S) == 0
    with server_process(data, *AT_ONCE) as running:
        for waiting, said in ((chat_id, ["one", "three"]), (other[1]["id"], ["two"])):
            wait_until_sync(lambda asked=waiting: _is_waiting(running, asked), what="all is answered")
            page = running.ask("GET", f"/chats/{waiting}/messages")[1]
            answers = [m["content"][0]["text"] for m in page["messages"] if m["role"] == "assistant"]
            assert answers == said


def _is_waiting(running: ServerProcess, chat_id: str) -> bool:
    return bool(running.ask("GET", f"/chats/{chat_id}")[1]["status"] == "waiting")


def _is_draining(running: ServerProcess) -> bool:
    with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE_S) as peer:
        peer.sendall(make_request("GET", "/readyz", headers={"connection": "close"}))
        return peer.recv(4096).startswith(b"HTTP/1.1 503")


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", "--drain-s", "60") as running:
        assert running.ask("POST", "/chats", {"content": "/stall 60"})[0] == 201
        wait_until_sync(lambda: model_calls(running), "the model is called (else there is nothing to wait for)")
        running.signal()
        wait_until_sync(lambda: _is_draining(running), what="it drains")
        running.signal()
        assert running.process.wait(5) == -signal.SIGTERM


def test_ctrl_c_ends_it_as_well(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", *AT_ONCE) as running:
        running.signal(signal.SIGINT)
        assert running.process.wait(DEADLINE_S) == 0
        assert not (tmp_path / "data" / "instance.json").exists()
        assert "Traceback" not in running.log
