"""The project's files agree with each other: version, lock, coverage, CI."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from antiphon import __version__

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LITERAL = re.compile(rf"(?<![\w.]){re.escape(__version__)}(?![\w.])")
NAMES_VERSION = {"src/antiphon/version.py", "CHANGELOG.md", "docs/instance-protocol.md"}
"""The source of the version, its changelog, and a page that ./dev docs writes from it."""


def test_the_version_is_written_in_one_place() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    sources = [ROOT / "pyproject.toml", ROOT / "CHANGELOG.md"]
    for folder, suffix in (("src", "py"), ("scripts", "py"), ("docs", "md")):
        sources += (ROOT / folder).rglob(f"*.{suffix}")
    naming = {str(file.relative_to(ROOT)) for file in sources if LITERAL.search(file.read_text())}
    assert naming <= NAMES_VERSION


def test_the_changelog_has_an_entry_for_the_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_contributing_states_the_coverage_that_must_not_drop() -> None:
    (figure,) = re.findall(r"The figure is \*\*([\d.]+) %\*\*", (ROOT / "CONTRIBUTING.md").read_text())
    assert PROJECT["tool"]["coverage"]["report"]["fail_under"] == int(float(figure))


def test_the_tests_that_coverage_runs_exist() -> None:
    (paths,) = re.findall(r'^COVERED="([^"]+)"', (ROOT / "dev").read_text(), re.MULTILINE)
    assert [path for path in paths.split() if not (ROOT / path).exists()] == []


def test_the_public_ci_runs_every_supported_python() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (versions,) = re.findall(r"python: \[([^\]]+)\]", workflow)
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert versions.split(", ")[0].strip('"') == lowest
    assert "bash .ci/run" in workflow


def test_the_lock_satisfies_every_requirement_of_the_project() -> None:
    locked = _locked_versions()
    for requirement in _requirements():
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert any(requirement.specifier.contains(version) for version in versions), f"{requirement}: run ./dev lock"


def _requirements() -> list[Requirement]:
    """What the project and its development groups ask for."""
    lines = list(PROJECT["project"]["dependencies"])
    for group in PROJECT["dependency-groups"].values():
        lines += [line for line in group if isinstance(line, str)]
    return [Requirement(line) for line in lines]


def _locked_versions() -> dict[str, list[str]]:
    """Each locked package with its versions; there are several where Python versions need different ones."""
    found: dict[str, list[str]] = {}
    lines = (ROOT / "requirements.lock").read_text()
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lines, re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found
