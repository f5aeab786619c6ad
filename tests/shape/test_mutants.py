"""Every mutant can still be planted in the code, and the tests kill it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from mutants import MUTANTS, Mutant  # noqa: E402

sys.path.pop(0)


def test_there_are_enough_mutants_with_unique_names() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


def test_every_mutant_can_be_planted() -> None:
    lost = [
        f"{mutant.name}: {mutant.file}"
        for mutant in MUTANTS
        if mutant.old not in (ROOT / "src" / "antiphon" / mutant.file).read_text()
    ]
    lost += [f"{mutant.name}: {test}" for mutant in MUTANTS for test in mutant.tests if not (ROOT / test).exists()]
    assert lost == []


def plant(*names: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(ROOT / "scripts" / "mutants.py"), *names]
    return subprocess.run(script, capture_output=True, text=True, timeout=1800)


def test_a_mutant_is_killed() -> None:
    done = plant("positions count bytes")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_killed(mutant: Mutant) -> None:
    done = plant(mutant.name)
    assert done.returncode == 0, done.stdout
