"""The list of slow variants names tests that exist, and leaves a variant of each in the usual run."""

from __future__ import annotations

import pytest

from slow_variants import COLLECTED, SLOW_VARIANTS, slow_variant_of


def test_each_slow_variant_exists_and_another_one_is_always_run(pytestconfig: pytest.Config) -> None:
    collected = pytestconfig.stash[COLLECTED]
    files = {file for file, _ in collected}
    for file, tests in SLOW_VARIANTS.items():
        for test, variants in tests.items() if file in files else ():  # a part of the suite is collected
            names = collected.get((file, test), set())
            found = {slow_variant_of(file, test, name) for name in names}
            assert found == {None, *variants}, f"{file}::{test} has the variants {sorted(names)}"
