"""`python -m benchmarks.mute`: a replica none of whose hints leaves its process."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvloop

from antiphon.bus.memory import MemoryBus
from antiphon.observe.logs import configure_logging
from antiphon.server.serve import serve


def main() -> None:
    """The bus to the others is there, as always, and nothing is sent over it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--bus")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--drain-s", type=float)
    configure_logging(as_json=True)
    uvloop.run(serve(wrap_bus=lambda bus: MemoryBus(), **vars(parser.parse_args())))


if __name__ == "__main__":
    main()
