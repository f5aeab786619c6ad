"""A process that registers an instance on a database, prints that, and runs until it is killed.

python postgres_child.py URL INSTANCE_ID
"""

from __future__ import annotations

import asyncio
import sys

from antiphon.ports import InstanceRecord
from antiphon.store.postgres.store import open_postgres_store


async def main(url: str, instance_id: str) -> None:
    store = await open_postgres_store(url, pool_max=1)
    await store.presence.register(InstanceRecord(instance_id=instance_id))
    print("present", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
