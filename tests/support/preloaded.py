"""Starts the MCP server of the tests without the second that the import of its SDK takes.

`command(script, …)` is a command line for it. What that starts is this file as a small program: it passes its
streams, directory and environment to the preloaded process, which forks a child that runs the script, and it ends
when the child does. Killing it ends the child: the child's connection to it is closed.

The preloaded process is started by the first `command` of a test process, and ends with that.
"""

from __future__ import annotations

import functools
import os
import socket
import sys

REQUEST_BYTES = 1 << 20
MODULES = ("mcp.server.mcpserver", "mcp.server.stdio", "mcp.server.streamable_http_manager", "uvicorn")


def command(script: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", __file__, "run", _address(), script, *arguments)


@functools.cache
def _address() -> str:
    """The address of the preloaded process of this test process."""
    import atexit
    import subprocess
    import tempfile

    address = os.path.join(tempfile.mkdtemp(prefix="preloaded-"), "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        command = [sys.executable, __file__, "serve", str(listener.fileno())]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()], stdin=subprocess.PIPE)

    def stop() -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        os.unlink(address)
        os.rmdir(os.path.dirname(address))

    atexit.register(stop)
    return address


def run(address: str, *script: str) -> int:
    """The small program: start the script, and wait for its exit code."""
    import json

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        request = {"argv": script, "cwd": os.getcwd(), "env": dict(os.environ)}
        data = json.dumps(request).encode()
        socket.send_fds(connection, [len(data).to_bytes(4, "big") + data], [0, 1, 2])
        for number in (0, 1, 2):
            os.close(number)
        return int.from_bytes(connection.recv(1) or b"\x01", "big")


def serve(listener: socket.socket) -> None:
    """The preloaded process: fork a child for each connection, until the test process ends."""
    import gc
    import select
    import signal
    from importlib import import_module

    for module in MODULES:
        import_module(module)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            _become(connection)
        connection.close()


def _become(connection: socket.socket) -> None:
    """Run the script in this process, with the streams that the request brings."""
    import json
    import runpy
    import threading

    data, descriptors, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 3)
    while len(data) < 4 + int.from_bytes(data[:4], "big"):
        data += connection.recv(REQUEST_BYTES)
    request = json.loads(data[4:])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115

    def end_with_the_small_program() -> None:
        connection.recv(1)
        os._exit(1)

    threading.Thread(target=end_with_the_small_program, daemon=True).start()
    code = 0
    try:
        runpy.run_path(request["argv"][0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        code = 1
        raise
    finally:
        connection.send(bytes([code]))
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        raise SystemExit(run(*sys.argv[2:]))
    serve(socket.socket(fileno=int(sys.argv[2])))
