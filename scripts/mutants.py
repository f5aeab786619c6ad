# ruff: noqa: E501 - the planted lines are the code's own
"""Mutation tests: plants one bug at a time in a copy of the project. The tests must fail for every one of them.

Run it as `./dev exec python scripts/mutants.py [NAME …]`. All of them take some minutes; two run at a time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIMIT_S = 240

CORE = ("tests/core",)
QUICK_CORE = ("tests/core/test_decide_people.py", "tests/core/test_decide_workers.py", "tests/core/test_walk.py")
SERVICE = ("tests/chats",)
STORE = ("tests/store", "tests/chats")
POSTGRES = ("tests/store/test_postgres.py",)
WATCH = ("tests/chats/test_watch.py", "tests/api/http/test_stream.py", "tests/client", "tests/system/test_hints.py")
WORKER = ("tests/worker", "tests/system/test_interrupts.py")
SIMULATION = ("tests/replicas/test_simulation.py",)


@dataclass(frozen=True)
class Mutant:
    """A planted bug: replaces the first `old` by `new` in `file`. One of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    # --- core
    Mutant(
        "no fence",
        "core/workers.py",
        "    if not command.attempt or chat.attempt != command.attempt or chat.draft != command.draft:\n",
        "    if chat.attempt < 0:\n",
        QUICK_CORE,
    ),
    Mutant(
        "fence by 'a newer attempt exists'",
        "core/workers.py",
        "    if not command.attempt or chat.attempt != command.attempt or chat.draft != command.draft:\n",
        "    if command.attempt < chat.attempt:\n",
        QUICK_CORE,
    ),
    Mutant(
        "commits do not name their draft",
        "core/workers.py",
        "or chat.attempt != command.attempt or chat.draft != command.draft:\n",
        "or chat.attempt != command.attempt:\n",
        QUICK_CORE,
    ),
    Mutant(
        "tool results without a fence",
        "core/workers.py",
        "    if not command.attempt or chat.attempt != command.attempt:\n        raise StaleAttempt(command.attempt)\n    call",
        "    call",
        QUICK_CORE,
    ),
    Mutant(
        "a commit is accepted while interrupting",
        "core/workers.py",
        '    if chat.status is not Status.RUNNING:\n        raise NotAllowedNow(chat.status, "the turn is being '
        'interrupted")\n    if chat.calls:',
        "    if chat.calls:",
        QUICK_CORE,
    ),
    Mutant(
        "an interrupt ignores its turn id",
        "core/people.py",
        "    if not command.turn_id or decision.chat.turn_id != command.turn_id:\n        return\n",
        "",
        QUICK_CORE,
    ),
    Mutant(
        "the queue's head is lost at the end of a turn",
        "core/decision.py",
        "        elif self.chat.queue:\n            self.deliver(self.chat.queue[0])\n",
        "        elif len(self.chat.queue) > 1:\n            self.deliver(self.chat.queue[1])\n",
        QUICK_CORE,
    ),
    Mutant(
        "steering is forgotten by the last commit",
        "core/workers.py",
        "    if decision.chat.steering:\n        decision.deliver_steering()\n    elif command.is_last:",
        "    if command.is_last:",
        QUICK_CORE,
    ),
    Mutant(
        "the end of a turn shows waiting before the next message",
        "core/transitions.py",
        "        follows = fact.outcome is Outcome.REPLACED or chat.waits\n",
        "        follows = fact.outcome is Outcome.REPLACED\n",
        QUICK_CORE,
    ),
    Mutant(
        "a retry continues in the same draft",
        "core/facts.py",
        "        AttemptLost,\n        RetryScheduled,\n        ActionRequired,",
        "        AttemptLost,\n        ActionRequired,",
        QUICK_CORE,
    ),
    Mutant(
        "the newest interrupting message overtakes the earlier ones",
        "core/evolve.py",
        "    split = sum(other.is_promoted for other in queue)\n",
        "    split = 0\n",
        QUICK_CORE,
    ),
    Mutant(
        "a lost call is run again",
        "core/workers.py",
        "if call.state is CallState.BEGUN and not call.is_idempotent]",
        "if call.state is CallState.AWAITING and not call.is_idempotent]",
        QUICK_CORE,
    ),
    Mutant(
        "an expiry does nothing while interrupting",
        "core/workers.py",
        '    if chat.status is Status.INTERRUPTING:\n        _finish(decision, partial, calls_are="unknown")\n        return\n',
        "    if chat.status is Status.INTERRUPTING:\n        return\n",
        QUICK_CORE,
    ),
    Mutant(
        "an edit leaves the attempt holding the chat",
        "core/people.py",
        "    if not chat.is_idle:\n        decision.end_turn(Outcome.REPLACED)\n",
        "",
        QUICK_CORE,
    ),
    Mutant(
        "a second promote interrupts again",
        "core/people.py",
        "    elif not was_promoted:\n        _interrupt_turn",
        "    else:\n        _interrupt_turn",
        QUICK_CORE,
    ),
    Mutant(
        "positions count bytes",
        "core/parts.py",
        "        return len(part.text)\n",
        "        return len(part.text.encode())\n",
        ("tests/core/test_draft.py",),
    ),
    # --- service
    Mutant(
        "receipts are not checked when a rule refuses",
        "chats/service.py",
        "        new = await self._answer_repeats(queue, [job for job, _ in refused])\n",
        "        new = [job for job, _ in refused]\n",
        SERVICE,
    ),
    Mutant(
        "a repeated id with another body gets the first response",
        "chats/service.py",
        "            elif receipt.body_hash != job.request.body_hash:\n",
        "            elif receipt.body_hash == b'':\n",
        SERVICE,
    ),
    Mutant(
        "a commit with an unknown outcome is decided again",
        "chats/service.py",
        "                METRICS.unknown_outcomes.inc()\n                await asyncio.sleep(UNKNOWN_PAUSE_S)\n",
        "                return Appended.CONFLICT\n",
        SERVICE,
    ),
    Mutant(
        "the lease does not follow the attempt",
        "chats/append_batch.py",
        "            lease=self._lease(),\n",
        "            lease=None,\n",
        ("tests/chats", "tests/worker"),
    ),
    Mutant(
        "refusals are decided on uncommitted facts",
        "chats/append_batch.py",
        "            if not await self._decide_one(job) and self.entries:\n",
        "            if not await self._decide_one(job) and not self.entries:\n",
        SERVICE,
    ),
    # --- store
    Mutant(
        "no check of after_seq",
        "store/sqlite/append.py",
        "        if (row[0] if row else 0) != append.after_seq:\n",
        "        if row is None and append.after_seq:\n",
        STORE,
    ),
    Mutant(
        "an append is not recognized by its id",
        "store/sqlite/append.py",
        "            return Appended.DONE if _is_written(connection, append) else Appended.CONFLICT\n",
        "            return Appended.CONFLICT\n",
        STORE,
    ),
    Mutant(
        "expiry is not checked in the append",
        "store/sqlite/append.py",
        "            return Appended.LEASE_LIVE\n",
        "            pass\n",
        STORE,
    ),
    Mutant(
        "a renewal needs no attempt",
        "store/sql/sqlite.sql",
        "UPDATE leases SET ends_at = ? WHERE chat_id = ? AND attempt = ? AND instance_id = ?\n",
        "UPDATE leases SET ends_at = ? WHERE chat_id = ? AND attempt > -? AND instance_id = ?\n",
        STORE,
    ),
    Mutant(
        "drafts are flushed after they are closed",
        "store/sql/sqlite.sql",
        "SELECT 1 FROM chats WHERE chat_id = ? AND draft = ? AND is_deleted = 0;\n",
        "SELECT 1 FROM chats WHERE chat_id = ? AND draft >= ? - 1000 AND is_deleted = 0;\n",
        STORE,
    ),
    Mutant(
        "commits do not wait for the disk",
        "store/sqlite/database.py",
        'connection.pragma("synchronous", "full")',
        'connection.pragma("synchronous", "off")',
        STORE,
    ),
    # --- watch
    Mutant(
        "the cursor loses the position at a fact that opens no draft",
        "watch/reader.py",
        "                    position=position,\n                    content=fact,\n",
        "                    position=0,\n                    content=fact,\n",
        WATCH,
    ),
    Mutant(
        "the rest of a draft is not sent before its end",
        "watch/reader.py",
        "                    if draft is not None and position < fact.upto:\n",
        "                    if draft is not None and position < 0:\n",
        (*WATCH, "tests/system/test_interrupts.py"),
    ),
    Mutant(
        "a position beyond the draft restarts it",
        "watch/reader.py",
        "                deltas = open_draft.read(position, position + BATCH_BYTES)\n",
        "                position = position if position <= open_draft.position else 0\n"
        "                deltas = open_draft.read(position, position + BATCH_BYTES)\n",
        WATCH,
    ),
    Mutant(
        "no poll: a lost hint is lost",
        "watch/watch.py",
        "        if reader is not None and reader.seq < seq:\n            await reader.pull()\n",
        "",
        WATCH,
    ),
    Mutant(
        "a revoked token keeps its streams",
        "watch/watch.py",
        '            if watcher.token_id in self._revoked:\n                watcher.end("revoked")\n',
        "            pass\n",
        ("tests/chats/test_watch.py",),
    ),
    Mutant(
        "until=idle leaves in the middle of an append",
        "watch/reader.py",
        "return last is not None and last.seq == seq and not last.entry.more and last.entry.status in RESTS",
        "return last is not None",
        WATCH,
    ),
    Mutant(
        "the end of a read wakes no follower",
        "watch/reader.py",
        "            self._wake_soon()  # also if there was nothing",
        "            pass  # also if there was nothing",
        ("tests/watch/test_owner_follower.py",),
    ),
    Mutant(
        "read facts are added in front of newer ones with a gap between",
        "watch/reader.py",
        "            if self._facts and self._facts.first_seq != start:\n                return False",
        "            if False:\n                return False",
        ("tests/chats/test_watch.py",),
    ),
    Mutant(
        "what an edit removed is sent again with its content",
        "watch/reader.py",
        "                self._facts.forget_before_truncation()\n",
        "                pass\n",
        ("tests/chats/test_watch.py",),
    ),
    Mutant(
        "a poll that fails for one chat forgets it",
        "watch/watch.py",
        "                failure = error  # the next poll tries it again; the others must not wait for it\n",
        "                failure = error\n                del self._unseen[chat_id]\n",
        ("tests/chats/test_watch.py",),
    ),
    Mutant(
        "a follower applies every frame",
        "client/zmq_watch.py",
        "        if delta.from_ != self.position:\n            return None, False\n",
        "",
        ("tests/api/zmq/test_following.py",),
    ),
    Mutant(
        "a watch stays with its first instance",
        "client/zmq_watch.py",
        "            self.subscribe(sub, envelope.instance_id, envelope.project_id)\n",
        "            return\n",
        ("tests/api/zmq/test_following.py", "tests/api/zmq/test_trials_following.py"),
    ),
    Mutant(
        "silence counts as no news",
        "client/zmq_watch.py",
        "        envelope = None if frame is None else",
        "        if frame is None:\n            return\n        envelope =",
        ("tests/api/zmq",),
    ),
    Mutant(
        "every key is accepted",
        "local/keys.py",
        "return public == self.public or public in self.allowed",
        "return True",
        ("tests/cli/test_keys.py",),
    ),
    Mutant(
        "an unsubscription of an unknown topic ends all subscriptions",
        "api/zmq/subscriptions.py",
        '        elif kind == b"\\0" and topic in self._topics:\n            self._topics.remove(topic)\n',
        '        elif kind == b"\\0":\n            self._topics.clear()\n',
        ("tests/api/zmq/test_hostile_peers.py",),
    ),
    # --- roles
    Mutant(
        "a forked child keeps the lock",
        "local/lock.py",
        "os.register_at_fork(after_in_child=_close_copies)",
        "",
        ("tests/system/test_roles.py",),
    ),
    Mutant(
        "a send is repeated without an id",
        "api/proxy/request.py",
        "    return msgspec.json.encode(given | {name: str(uuid.uuid4())})",
        "    return body",
        ("tests/api/proxy/test_standby.py",),
    ),
    Mutant(
        "every command is repeated",
        "api/proxy/exchange.py",
        "        if self._forwarded.is_repeatable:\n            return\n",
        "        return\n",
        ("tests/api/proxy/test_standby.py",),
    ),
    Mutant(
        "a stream is resumed at its beginning",
        "api/proxy/stream.py",
        "forwarded = self._forwarded.after(self._blocks.cursor)\n        async with",
        "forwarded = self._forwarded\n        async with",
        ("tests/api/proxy/test_standby.py",),
    ),
    Mutant(
        "half an event is sent",
        "api/proxy/stream.py",
        '        self._rest.clear()\n        self.farewell = ""\n',
        '        self.farewell = ""\n',
        ("tests/api/proxy/test_standby.py",),
    ),
    Mutant(
        "the `bye` of a primary is forwarded to the client",
        "api/proxy/stream.py",
        "                block = block[:at]\n",
        "                pass\n",
        ("tests/api/proxy/test_standby.py",),
    ),
    Mutant(
        "the cookie of one client is sent for the next",
        "api/proxy/primary.py",
        "            return await self._transport.handle_async_request(request)\n",
        '            if not hasattr(self, "_client"):\n                self._client = httpx2.AsyncClient(transport=self._transport)\n            return await self._client.send(self._client.build_request(request.method, request.url, headers=request.headers, content=forwarded.body), stream=True)\n',
        ("tests/api/proxy/test_standby.py",),
    ),
    Mutant(
        "requests wait for an unresponsive primary without a limit",
        "api/proxy/exchange.py",
        "            raise self._primary.not_responding()\n        finally:",
        "            await asking\n        finally:",
        ("tests/api/proxy/test_standby.py",),
    ),
    Mutant(
        "an instance that is not the target handles a request",
        "api/http/app.py",
        "        if request.headers.get(TARGET_HEADER, instance.instance_id) != instance.instance_id:\n",
        "        if False:\n",
        ("tests/api/proxy/test_standby.py",),
    ),
    # --- worker
    Mutant(
        "an interrupted turn stores no partial answer",
        "worker/held_chat.py",
        "            parts, dropped = self.writer.draft.partial()\n",
        "            parts, dropped = (), ()\n",
        WORKER,
    ),
    Mutant(
        "a stopped agent continues to write",
        "worker/draft_writer.py",
        "        if self.is_closed:\n            return\n        if isinstance(piece, PartMetadata)",
        "        if isinstance(piece, PartMetadata)",
        WORKER,
    ),
    # --- several instances
    Mutant(
        "a lease is held by instance id alone",
        "store/memory/leases.py",
        "            if lease and (lease.attempt, lease.instance_id) == (attempt, instance_id):\n",
        "            if lease and lease.instance_id == instance_id:\n",
        ("tests/store/test_conformance.py",),
    ),
    Mutant(
        "leases use the clock of the asking instance",
        "store/memory/chats.py",
        "        now = self.clock.now_us()\n        stored = self._chats.get(append.chat_id)\n",
        "        now = self.clock.caller_us()\n        stored = self._chats.get(append.chat_id)\n",
        SIMULATION,
    ),
    Mutant(
        "an expiry is decided outside the append",
        "store/memory/chats.py",
        "            return Appended.LEASE_LIVE\n",
        "            pass\n",
        (*SIMULATION, "tests/store/test_conformance.py"),
    ),
    Mutant(
        "a free session lock alone counts as a death",
        "cluster/failure_detector.py",
        "            if await ping:\n",
        "            if False:\n",
        SIMULATION,
    ),
    Mutant(
        "the relay continues after a gap",
        "cluster/draft_replicas.py",
        "            if not replica.draft.apply(delta):\n",
        "            from msgspec.structs import replace\n\n            if not replica.draft.apply(replace(delta, from_=min(delta.from_, replica.draft.position))):\n",
        SIMULATION,
    ),
    Mutant(
        "the link drops peers that the database does not list",
        "cluster/members.py",
        "        self._link.update_members(tuple(self.others.values()))",
        "        self._link.update_members([r for r in self.others.values() if r.is_present])",
        ("tests/cluster/test_failure_detector.py",),
    ),
    Mutant(
        "an instance that once did not answer is not pinged again",
        "cluster/failure_detector.py",
        "ping = asyncio.create_task(self._ping(instance_id, self._timing.ping_s))\n",
        "ping = asyncio.create_task(asyncio.sleep(0, False))\n",
        ("tests/cluster/test_members.py", "tests/cluster/test_failure_detector.py"),
    ),
    Mutant(
        "a worker ignores a lost lease",
        "worker/loop.py",
        "            if status is None:\n                attempt.stop(Stop.LOST)\n            elif",
        "            if",
        ("tests/worker/test_handing_over.py",),
    ),
    # --- PostgreSQL
    Mutant(
        "an expiry ignores the clock",
        "store/migrations/postgres/0001_chats.sql",
        "    IF FOUND AND (lease_ends_at > store_now_us() OR NOT leases_may_end()) THEN\n",
        "    IF FOUND AND (lease_ends_at > a_chat.updated_at OR NOT leases_may_end()) THEN\n",
        POSTGRES,
    ),
    Mutant(
        "a restart of the database ends leases",
        "store/migrations/postgres/0001_chats.sql",
        "  SELECT store_uptime_us() >= 5000000\n",
        "  SELECT TRUE\n",
        POSTGRES,
    ),
    Mutant(
        "the chat's row is not locked",
        "store/migrations/postgres/0001_chats.sql",
        "  SELECT seq, fold_version INTO found_seq, found_version FROM chats WHERE chat_id = a_chat_id FOR UPDATE;\n",
        "  SELECT seq, fold_version INTO found_seq, found_version FROM chats WHERE chat_id = a_chat_id;\n",
        POSTGRES,
    ),
    Mutant(
        "changes are listed up to the newest transaction",
        "store/sql/postgres.sql",
        "FROM (SELECT pg_snapshot_xmin(s)::text::bigint AS mark,",
        "FROM (SELECT pg_snapshot_xmax(s)::text::bigint AS mark,",
        POSTGRES,
    ),
    Mutant(
        "an append is repeated by the pool",
        "store/postgres/pool.py",
        '                if is_once:\n                    raise OutcomeUnknown(f"a write\'s answer was lost: {self._text_of(error)}") from None\n',
        "                pass\n",
        POSTGRES,
    ),
    Mutant(
        "an append reads all receipts of its chat",
        "store/migrations/postgres/0001_chats.sql",
        "      SELECT 1 FROM receipts WHERE chat_id = a_chat_id AND client_id = asked.client_id LIMIT 1\n    ) AS found\n",
        "      SELECT 1 FROM receipts WHERE chat_id = a_chat_id AND client_id || '' = asked.client_id LIMIT 1\n    ) AS found\n",
        POSTGRES,
    ),
    Mutant(
        "one faulty append fails all appends of its statement",
        "store/postgres/append.py",
        "            if isinstance(error, MISTAKES) and len(batch) > 1:\n",
        "            if False:\n",
        POSTGRES,
    ),
    Mutant(
        "one chat whose row is locked fails all that share its statement",
        "store/postgres/append.py",
        "            if isinstance(error, RowLocked) and tries + 1 < len(timeouts):\n",
        "            if False:\n",
        POSTGRES,
    ),
    Mutant(
        "an append queued as a statement ends is not written",
        "store/postgres/append.py",
        "        self._writers.discard(task)\n        self._start_writer()\n",
        "        self._writers.discard(task)\n",
        POSTGRES,
    ),
    Mutant(
        "outcomes are assigned to the wrong appends",
        "store/postgres/append.py",
        "zip(batch, sorted(rows), strict=True)",
        "zip(reversed(batch), sorted(rows), strict=True)",
        POSTGRES,
    ),
    Mutant(
        "a lost lock is not reacquired",
        "store/postgres/presence.py",
        '        self._connection, self._lock_key, self._server_pid = connection, row["key"], row["pid"]\n',
        '        self._connection, self._server_pid = connection, row["pid"]\n        self._lock_key = self._lock_key or row["key"]\n',
        ("tests/store/test_presence.py",),
    ),
    Mutant(
        "leases are copied as live",
        "store/tables.py",
        "EXPIRED_AT = 1\n",
        "EXPIRED_AT = 1 << 60\n",
        ("tests/store/test_copying.py",),
    ),
)


def main(names: list[str]) -> int:
    """Plant the mutants of these names (all by default); 1 if any survives."""
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    with ThreadPoolExecutor(2) as pool:
        survivors = [name for name in pool.map(_try, chosen) if name]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    return 1 if survivors or not chosen else 0


def _try(mutant: Mutant) -> str | None:
    """The name of the mutant if it survives."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("src", "tests", "benchmarks", "examples", "scripts", "docs"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "dev"):
            shutil.copy(ROOT / name, copy / name)
        plant(copy / "src" / "antiphon" / mutant.file, mutant)
        found = [test for test in mutant.tests if (ROOT / test).exists()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *found]
        env = {**os.environ, "PYTHONPATH": str(copy / "src")}
        try:
            done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=LIMIT_S)
            is_killed = done.returncode == 1
        except subprocess.TimeoutExpired:
            is_killed = True  # a test that hangs has detected it
    print(f"{'killed  ' if is_killed else 'SURVIVES'} {mutant.name}", flush=True)
    if not is_killed:
        print(done.stdout[-2000:])
    return None if is_killed else mutant.name


def plant(path: Path, mutant: Mutant) -> None:
    text = path.read_text()
    assert text.count(mutant.old) >= 1, f"{mutant.name}: {mutant.file} no longer has its text"
    path.write_text(text.replace(mutant.old, mutant.new, 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
