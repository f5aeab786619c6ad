"""The options of an instance, with their defaults."""

from __future__ import annotations

import os
from typing import Any

from antiphon.core.values import Value
from antiphon.errors import Invalid

DEFAULT_PORT = 8414


class Options(Value, gc=True):
    """What `antiphon serve` and `open_instance` can be told. Names are those of the command line."""

    model: str = "rehearsal"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    concurrency: int = 64
    drain_s: float = 20.0
    behind_proxy: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    hosts: tuple[str, ...] = ()
    """Host names by which it may be reached beside loopback; `*` for any."""
    on_worker_lost: str = "restart"
    watchers_max: int = 10_000
    owner_watchers_max: int = 1_000
    tools: tuple[Any, ...] = ()
    config: dict[str, Any] = {}
    """Handed to agents as `turn.config`."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or self.host.startswith("127.") or self.host == "::1"

    @staticmethod
    def make(given: dict[str, Any]) -> Options:
        """From keyword arguments; None means the default. Raises `Invalid` for a name there is not."""
        for name in given:
            if name not in Options.__struct_fields__:
                raise Invalid(name, f"there is no such option; there are {', '.join(Options.__struct_fields__)}")
        known = {name: value for name, value in given.items() if value is not None}
        known.setdefault("model", os.environ.get("ANTIPHON_MODEL") or "rehearsal")
        options = Options(**known)
        if options.on_worker_lost not in ("restart", "keep"):
            raise Invalid("on_worker_lost", "restart or keep")
        if options.concurrency < 1:
            raise Invalid("concurrency", "at least 1")
        return options
