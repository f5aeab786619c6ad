"""`antiphon config`: providers, models and the prompt, as a person types them; a secret is never an argument."""

from __future__ import annotations

import stat
from pathlib import Path

from .conftest import Run

CANARY = "sk-canary-0123456789"


def test_a_provider_is_added_listed_changed_and_removed(run: Run) -> None:
    added = run("config", "providers", "add", "acme", "--base-url", "https://models.example.com", "--secret-env", "K")
    assert (added.code, added.out) == (0, "Added acme.\n"), added.err
    assert run("config", "providers", "list").out.split() == ["acme", "openai", "https://models.example.com", "env:K"]
    changed = run("config", "providers", "set", "acme", "--rename", "b", "--off", "--no-secret", "--json").json
    assert (changed["name"], changed["is_enabled"], changed["has_secret"]) == ("b", False, False)
    assert run("config", "providers", "remove", "b").out == "Removed.\n"
    gone = run("config", "providers", "set", "b", "--on")
    assert (gone.code, gone.err) == (1, "antiphon: There is no such provider.\n")


def test_a_secret_is_read_from_stdin_and_never_printed(run: Run) -> None:
    """It is encrypted with the key of the user; a reference needs no key."""
    add = ("config", "providers", "add", "sealed", "--secret-stdin")
    added = run(*add, "--json", stdin=f"{CANARY}\n")
    assert (added.json["has_secret"], added.json["secret_reference"]) == (True, "")
    assert CANARY not in added.out + added.err + run("config", "providers", "list", "--json").out
    assert run(*add, stdin="\n").code == 1
    assert run(*add, "--secret-env", "K").code == 2
    add = ("config", "providers", "add", "named", "--secret-stdin")
    assert run(*add, "--json", stdin="env:K\n").json["secret_reference"] == "env:K"


def test_a_model_configuration_is_added_with_parameters_and_made_the_default(run: Run) -> None:
    given = ("--param", "temperature=0.5", "--param", 'stop=["a"]', "--param", "effort=high")
    added = run("config", "models", "add", "careful", "rehearsal", *given, "--default", "--json").json
    assert added["parameters"] == {"temperature": 0.5, "stop": ["a"], "effort": "high"}
    assert run("config", "models", "list").out.rstrip().endswith("default")
    changed = run("config", "models", "set", "careful", "--no-params", "--no-default", "--json").json
    assert (changed["parameters"], changed["is_default"], changed["model"]) == ({}, False, "rehearsal")
    assert run("config", "models", "add", "other", "rehearsal", "--param", "x").code == 2
    assert run("config", "models", "remove", added["id"], "--json").json == {"removed": added["id"]}


def test_a_prompt_is_set_shown_and_cleared(run: Run) -> None:
    kept = run("config", "prompt", "set", "-", "--json", stdin="Be brief.\x1b[2J\n").json
    assert kept["prompt"] == "Be brief.\x1b[2J"
    shown = run("config", "prompt", "show").out
    assert shown.startswith("Be brief.")
    assert "\x1b" not in shown
    assert run("config", "prompt", "clear").code == 0
    assert run("config", "prompt", "show").out == ""


def test_a_key_is_created_once_and_readable_by_its_owner_only(run_alone: Run, tmp_path: Path) -> None:
    assert run_alone("config", "keygen", "key", "--json").json == {"file": "key"}
    file = tmp_path / "key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    again = run_alone("config", "keygen", "key")
    assert again.code == 1
    assert "exists" in again.err
    assert file.read_text() == before
