"""Checks of a store's configuration: rows by kind and id, written all or none, and a version."""

from __future__ import annotations

import asyncio

from antiphon.errors import Unavailable
from antiphon.ports import ConfigRow
from antiphon.testing.store_case import Case

WRITERS = 8


def row(config_id: str, body: bytes | None = b"{}", kind: str = "provider") -> ConfigRow:
    return ConfigRow(kind=kind, config_id=config_id, body=body)


async def check_configuration_is_read_by_kind_and_by_id(case: Case) -> None:
    store = case.store
    assert await store.read_config("provider") == ((), 0)
    odd = 'q"uo\\te ü😀\u2028$.x'
    written = (row("b", b"\x00\xff"), row(odd, b""), row("a", b"{}"), row("a", b"of another kind", kind="prompt"))
    assert await store.write_config(written) == 1
    assert await store.read_config("provider") == ((row("a"), row("b", b"\x00\xff"), row(odd, b"")), 1)
    assert await store.read_config("prompt") == ((row("a", b"of another kind", kind="prompt"),), 1)
    assert await store.read_config("provider", "b") == ((row("b", b"\x00\xff"),), 1)
    assert await store.read_config("provider", odd) == ((row(odd, b""),), 1)
    assert await store.read_config("provider", "unknown") == ((), 1)
    assert await store.read_config("nothing") == ((), 1)


async def check_configuration_is_replaced_and_removed(case: Case) -> None:
    store = case.store
    await store.write_config((row("a"), row("b"), row("a", kind="prompt")))
    assert await store.write_config((row("a", b"2"), row("b", None), row("c", b"3"))) == 2
    assert await store.read_config("provider") == ((row("a", b"2"), row("c", b"3")), 2)
    assert await store.write_config((row("unknown", None),)) == 3
    assert await store.write_config((row("a", None), row("c", None))) == 4
    assert await store.read_config("provider") == ((), 4)
    assert (await store.read_config("prompt"))[0] == (row("a", kind="prompt"),)


async def check_every_write_of_configuration_changes_its_version(case: Case) -> None:
    store = case.store
    assert await store.config_version() == 0
    for version in range(1, 4):
        assert await store.write_config((row("a"),)) == version
        assert await store.config_version() == version
    await store.write_setting("x", "y")
    await case.chat().create()
    assert await store.config_version() == 3


async def check_configuration_is_written_only_after_the_version_that_was_read(case: Case) -> None:
    store = case.store
    assert await store.write_config((row("a", b"1"),), after_version=0) == 1
    assert await store.write_config((row("a", b"2"), row("b")), after_version=0) is None
    assert await store.write_config((row("a", b"2"), row("b")), after_version=2) is None
    assert await store.read_config("provider") == ((row("a", b"1"),), 1)
    assert await store.write_config((row("a", b"2"),), after_version=1) == 2


async def check_one_of_two_concurrent_writes_of_configuration_is_first(case: Case) -> None:
    store = case.store
    tries = [store.write_config((row(str(i)), row("last", b"%d" % i)), after_version=0) for i in range(WRITERS)]
    answers = await asyncio.gather(*tries)
    assert sorted(answers, key=str) == [1, *[None] * (WRITERS - 1)]
    first = answers.index(1)
    assert await store.read_config("provider") == ((row(str(first)), row("last", b"%d" % first)), 1)
    await asyncio.gather(*(store.write_config((row(str(i)),)) for i in range(WRITERS)))
    assert await store.config_version() == 1 + WRITERS


async def check_a_large_configuration_is_stored(case: Case) -> None:
    body = b"x" * (1024 * 1024)
    await case.store.write_config((row("a", body),))
    assert await case.store.read_config("provider", "a") == ((row("a", body),), 1)


async def check_a_closed_store_writes_no_configuration(case: Case) -> None:
    await case.store.aclose()
    case.is_closed = True
    try:
        await case.store.write_config((row("a"),))
    except Unavailable:
        return
    raise AssertionError("a closed store took it")
