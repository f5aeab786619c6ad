"""Secrets of providers: sealed, bound to an address, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from antiphon.bus.memory import MemoryBus
from antiphon.errors import Invalid
from antiphon.models.configs import Configs
from antiphon.models.secret_box import SecretBox, SecretMissing, make_key
from antiphon.models.user_key import UserKeyFile
from antiphon.ports import Store
from antiphon.testing.ids import SeededIds

from .configs import CANARY, URL, replica

pytestmark = pytest.mark.anyio


async def test_a_sealed_secret_opens_only_for_its_own_provider(store: Store) -> None:
    configs = replica(store)
    made = await configs.create_provider(name="acme", kind="openai", base_url=URL, secret=CANARY)
    assert CANARY not in repr(await store.read_config("provider"))
    assert configs.secrets.open(made.secret, made.bound_to) == CANARY
    moved = msgspec.structs.replace(made, base_url="https://thief.example.com")
    for stored, bound_to, reason in (
        (made.secret, moved.bound_to, "made for another address"),
        (made.secret[:-8] + "AAAAAAA=", made.bound_to, "damaged"),
        ("sealed:00000000:AAAA", made.bound_to, "key 00000000, which this instance was not given"),
        ("later:what", made.bound_to, "a form that this version cannot read"),
    ):
        with pytest.raises(SecretMissing, match=reason) as missing:
            configs.secrets.open(stored, bound_to)
        assert CANARY not in repr(missing.value)


async def test_changing_the_kind_or_the_address_removes_the_secret(store: Store) -> None:
    configs = replica(store)
    made = await configs.create_provider(name="acme", kind="openai", base_url=URL, secret=CANARY)
    renamed = await configs.change_provider(made.provider_id, name="acme2", base_url=URL + "/")
    assert renamed.secret == made.secret
    moved = await configs.change_provider(made.provider_id, base_url="https://other.example.com")
    assert moved.secret == ""
    both = await configs.change_provider(made.provider_id, base_url=URL, secret=CANARY)
    assert configs.secrets.open(both.secret, both.bound_to) == CANARY
    assert (await configs.change_provider(made.provider_id, kind="rehearsal", base_url="")).secret == ""
    again = await configs.change_provider(made.provider_id, kind="openai", base_url=URL, secret="env:ACME_KEY")
    assert again.secret == "env:ACME_KEY"
    assert (await configs.change_provider(made.provider_id, secret=None)).secret == ""


async def test_without_a_key_a_secret_is_refused_with_advice(store: Store) -> None:
    configs = Configs(store=store, bus=MemoryBus(), ids=SeededIds(0), secrets=SecretBox())
    with pytest.raises(Invalid, match=r"--secret-key-file .*config keygen.* env:NAME or file:PATH") as refused:
        await configs.create_provider(name="acme", kind="openai", secret=CANARY)
    assert CANARY not in str(refused.value)
    assert (await configs.create_provider(name="acme", kind="openai", secret="env:ACME")).secret == "env:ACME"


async def test_without_a_key_one_is_created_for_the_user_apart_from_the_data(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": "/nowhere"}
    box, other = (SecretBox.make("", env, user_key=UserKeyFile.of(env)) for _ in range(2))
    file = tmp_path / "config" / "antiphon" / "secret.key"
    assert box.protect("env:ACME_KEY", "a") == "env:ACME_KEY"
    assert not file.exists(), "a reference needs no key"
    sealed = box.protect(CANARY, "a")
    assert file.stat().st_mode & 0o777 == 0o600
    assert other.open(sealed, "a") == CANARY, "a process that started before the key was created"
    assert other.open(other.protect(CANARY, "b"), "b") == CANARY
    assert len(file.read_text().split()) == 1, "one key for all"
    file.chmod(0o644)
    with pytest.raises(Invalid, match="can be read by other users"):
        SecretBox.make("", env, user_key=UserKeyFile.of(env)).protect(CANARY, "a")
    nowhere = {"HOME": "/proc/nowhere"}
    with pytest.raises(Invalid, match="cannot be written"):
        SecretBox.make("", nowhere, user_key=UserKeyFile.of(nowhere)).protect(CANARY, "a")
    assert UserKeyFile.of({}) is None


def test_references_are_followed_only_within_the_directory_of_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "acme").write_text(CANARY + "\n")
    (tmp_path / "outside").write_text("outside")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "inner").symlink_to(folder / "acme")
    (folder / "words").write_text("two words")
    box = SecretBox.make("", {"ACME": f" {CANARY} "}, str(folder))
    assert box.open("env:ACME", "") == CANARY
    for name in ("acme", "inner"):
        assert box.open(box.protect(f"file:{folder / name}", ""), "") == CANARY
    for stored in (
        "env:MISSING",
        f"file:{folder}/link",
        f"file:{folder}/nothing",
        "file:/etc/passwd",
        f"file:{folder}",
    ):
        with pytest.raises(SecretMissing) as missing:
            box.open(stored, "")
        assert str(tmp_path) not in str(missing.value)
    with pytest.raises(SecretMissing, match="one line"):
        box.open(f"file:{folder}/words", "")
    with pytest.raises(Invalid):
        box.protect(f"file:{folder}/link", "")


def test_keys_are_read_from_a_file_or_the_environment_and_the_newest_seals(tmp_path: Path) -> None:
    old, new = make_key(), make_key()
    file = tmp_path / "key"
    file.write_text(f"{new}\n{old}\n")
    file.chmod(0o644)
    with pytest.raises(Invalid, match="chmod o= "):
        SecretBox.make(str(file), {})
    file.chmod(0o640)
    sealed = SecretBox.make("", {"ANTIPHON_SECRET_KEY": old}).protect(CANARY, "x")
    both = SecretBox.make(str(file), {})
    assert both.open(sealed, "x") == CANARY
    assert SecretBox.make("", {"ANTIPHON_SECRET_KEY": new}).open(both.protect(CANARY, "x"), "x") == CANARY
    for text in ("", "short", "not base64 at all!"):
        file.write_text(text)
        with pytest.raises(Invalid, match="keygen"):
            SecretBox.make(str(file), {})
    with pytest.raises(Invalid, match="cannot be read"):
        SecretBox.make(str(tmp_path / "nothing"), {})


def test_a_leftover_of_a_crash_does_not_overwrite_the_key(tmp_path: Path) -> None:
    file = UserKeyFile(tmp_path / "secret.key")
    file.create("first")
    os.link(file.path, tmp_path / f".secret.key.{os.getpid()}")  # it ended before the name was removed
    file.path.chmod(0o644)
    assert file.create("second") == "", "it can be read by others"
    assert file.path.read_text() == "first\n"
    assert len(list(tmp_path.iterdir())) == 2
