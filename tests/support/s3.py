"""A real S3 server (moto's) in a process of its own, with a proxy-free address."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from support.ports import free_port
from support.waiting import wait_until_sync

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
READY_S = 30.0


class S3Server:
    """`new_bucket` gives the address of an empty bucket, as `--files` takes it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._buckets = 0

    def start(self) -> None:
        """Start it. What an earlier process had is lost: its buckets are in memory."""
        arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
        )
        wait_until_sync(self._is_ready, "the S3 server answers", deadline_s=READY_S)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the S3 server ended instead of starting"
        try:
            urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def create(self, bucket: str) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{bucket}", method="PUT"), timeout=10).close()

    def new_bucket(self) -> str:
        self._buckets += 1
        bucket = f"bucket{self._buckets}"
        self.create(bucket)
        return f"s3://{bucket}/some/prefix?endpoint={self.url}"


@contextmanager
def s3_running() -> Iterator[S3Server]:
    server = S3Server()
    server.start()
    try:
        yield server
    finally:
        server.stop()
