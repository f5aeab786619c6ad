"""`antiphon serve` with a bus that loses, doubles and reorders every hint it can (FAULTS: drop,double,reorder)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from antiphon.observe.logs import configure_logging
from antiphon.ports import Bus
from antiphon.server.config_file import read_config_file
from antiphon.server.serve import serve
from antiphon.testing.bus import FaultyBus


def wrap_bus(bus: Bus) -> Bus:
    drop, double, reorder = (float(chance) for chance in os.environ["FAULTS"].split(","))
    return FaultyBus(bus, Random(7), drop=drop, double=double, reorder=reorder, delay_s_max=0.3)


def main(*words: str) -> None:
    """[APP] and options of `antiphon serve`, each with a value."""
    app, options = (words[0], words[1:]) if len(words) % 2 else (None, words)
    given: dict[str, Any] = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(*[iter(options)] * 2, strict=True)
    }
    given["port"] = int(given["port"])
    given["drain_s"] = float(given.get("drain_s", 0))
    if config := given.pop("config", None):
        given |= {"mcp": read_config_file(Path(config)).mcp, "allow_outbound": ("127.0.0.1",)}
    configure_logging(as_json=True)
    uvloop.run(serve(agent=app, wrap_bus=wrap_bus, **given))


main(*sys.argv[1:])
