"""`antiphon serve` with a bus that loses, doubles and reorders every hint it can (FAULTS: drop,double,reorder)."""

from __future__ import annotations

import os
import sys
from random import Random

import uvloop

from antiphon.observe import configure_logging
from antiphon.ports import Bus
from antiphon.serve import serve
from antiphon.testing.bus import FaultyBus


def wrap_bus(bus: Bus) -> Bus:
    drop, double, reorder = (float(chance) for chance in os.environ["FAULTS"].split(","))
    return FaultyBus(bus, Random(7), drop=drop, double=double, reorder=reorder, delay_s_max=0.3)


def main(app: str, *options: str) -> None:
    given = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(*[iter(options)] * 2, strict=True)
    }
    configure_logging(as_json=True)
    uvloop.run(
        serve(
            agent=app,
            data=given["data"],
            port=int(given["port"]),
            model=given["model"],
            drain_s=float(given["drain_s"]),
            wrap_bus=wrap_bus,
        )
    )


main(*sys.argv[1:])
