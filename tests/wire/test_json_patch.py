"""Patches make the new value of the old one, by an independent implementation of RFC 6902."""

from __future__ import annotations

from random import Random
from typing import Any

from jsonpatch import JsonPatch

from antiphon.wire.codec import encode
from antiphon.wire.json_patch import json_patch


def random_json(random: Random, depth: int = 3) -> Any:
    kind = random.random()
    if depth == 0 or kind < 0.3:
        return random.choice((0, 1, True, False, None, "", "x", 1.5, "a/b"))
    if kind < 0.6:
        return [random_json(random, depth - 1) for _ in range(random.randint(0, 4))]
    return {random.choice(("a", "b", "~", "/", "", "é")): random_json(random, depth - 1) for _ in range(3)}


def test_a_patch_makes_the_new_value() -> None:
    random = Random("patches")
    for _ in range(500):
        old, new = random_json(random), random_json(random)
        patch = json_patch(old, new, operations_max=100)
        assert patch is not None
        made = JsonPatch(patch).apply(old)
        assert sorted(encode(made)) == sorted(encode(new))
        assert made == new
        assert (patch == []) == (json_patch(new, old, operations_max=100) == [])


def test_true_is_not_one_and_more_operations_than_wanted_are_none() -> None:
    assert json_patch({"a": 1}, {"a": True}, operations_max=1) == [{"op": "replace", "path": "/a", "value": True}]
    assert json_patch([1, 2, 3], [], operations_max=2) is None
    assert json_patch({"a": [1]}, {"a": [1]}, operations_max=0) == []
