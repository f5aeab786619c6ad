"""Times for people have their time zone."""

from __future__ import annotations

import re

import pytest

from antiphon.cli.time_text import time_text

from .conftest import Run


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-05-05T21:59:55.123Z", "2026-05-05 21:59:55 UTC"),
        ("2026-05-05T21:59:55Z", "2026-05-05 21:59:55 UTC"),
        ("2026-05-05T21:59:55.5+02:00", "2026-05-05 21:59:55 +02:00"),
    ],
)
def test_a_time_is_shown_with_its_zone(at: str, shown: str) -> None:
    assert time_text(at) == shown
    assert time_text(at, "minutes") == shown.replace(":55", "", 1)


def test_ls_and_show_print_the_time_zone(run: Run) -> None:
    assert run("send", "--help").code == 0
    chat = run("chat", "/say hi", "--json").json["chat_id"]
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC  ", run("ls").out)
    assert len(re.findall(r"\d\d:\d\d:\d\d UTC", run("show", chat.upper()).out)) == 2
