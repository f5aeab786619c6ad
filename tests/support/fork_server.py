"""Runs in a process of its own: imports the command line once, and forks a process for each command (see `forked`).

A request is a JSON object with three descriptors (standard input, output and error):

- `{"args", "cwd", "env"}` starts `antiphon ARGS`; the answer is `{"pid"}`.
- `{"wait": pid}` waits for the end of a started process; the answer is `{"status"}`, its wait status.

At the end of the connection the processes that still run are killed.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import socket
import sys
from importlib import import_module
from typing import Any

from antiphon import cli
from antiphon.observe import crash_points

REQUEST_BYTES = 1 << 20
IMPORTED = (
    *("serve", "chat", "acp", "ls", "show", "send", "config", "queue"),
    *("approve", "token", "keys", "ping", "tail"),
)
"""The verbs whose modules are imported before the first fork."""


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Answer requests until the end of the connection. In a forked process: returns its request at once."""
    started: set[int] = set()
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 3)
        if not data:
            break
        request = json.loads(data)
        if "wait" in request:
            started.discard(request["wait"])
            connection.send(json.dumps({"status": os.waitpid(request["wait"], 0)[1]}).encode())
            continue
        pid = os.fork()
        if not pid:
            connection.close()
            become(request, descriptors)
            return dict(request)
        started.add(pid)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(json.dumps({"pid": pid}).encode())
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Make this process what a new interpreter would be for the command."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["cwd"]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    random.seed()
    vars(crash_points)["_chosen"] = crash_points._chosen_point()


def main() -> None:
    cli._import_structlog()
    for verb in IMPORTED:
        import_module(f"antiphon.cli.{verb}")
    for module in ("antiphon.server.serve", "antiphon.client", "antiphon.store.sqlite.store"):
        import_module(module)
    gc.collect()
    gc.freeze()  # the forked processes share the memory of all that is imported
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        sys.argv = ["antiphon", *request["args"]]
        cli.main()


main()
