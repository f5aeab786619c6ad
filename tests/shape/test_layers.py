"""Imports point one way, and the rules are pure (docs/architecture.md, *The rooms*)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

from .modules import Import, Module, all_modules, imports_of, place

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "version", "tracebacks"),
    ("core", "signal"),
    ("wire", "backoff", "mcp_settings", "prices"),
    ("ports", "budgets"),
    ("clock", "options", "observe", "local", "postgres"),
    ("chats", "store", "bus", "models", "client"),
    ("watch", "cluster", "worker"),
    ("instance",),
    ("api",),
    ("server",),
    ("testing", "adapters"),
    ("cli",),
)
"""Lowest first. The rooms of one rank do not import each other. A new room gets its place here."""

RANKS_MAX = 12

PURE = {
    "__future__",
    "array.array",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "io.StringIO",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "re",
    "string",
    "struct",
    "types",
    "typing",
    "urllib.parse",
    "uuid",
}
"""Modules without I/O, and of `io` the one class that does none."""

MAY_AWAIT = {"wire.notify"}
"""Hands a message to its caller's coroutine, as the reference document has it; waits for nothing of its own."""

IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}
IMPURE_METHODS = {"now", "utcnow", "today", "uuid1", "uuid4", "sleep", "getenv", "urandom"}

RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def pure_modules() -> list[Module]:
    return [module for module in all_modules() if module.layer in ("core", "wire", "errors")]


def layer_of(target: str) -> str | None:
    """The room that an import leads to; None: outside. The package itself is ``."""
    parts = target.split(".")
    if parts[0] != "antiphon":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in RANKS else ""


def inner_imports() -> list[Import]:
    return [
        one
        for module in all_modules()
        if module.name
        for one in imports_of(module)
        if layer_of(one.target) is not None
    ]


def test_every_room_has_its_rank() -> None:
    parts = {module.layer for module in all_modules() if module.layer}
    assert parts == RANKS.keys()
    assert len(LAYERS) <= RANKS_MAX


def wrong_directions(imports: Iterable[Import]) -> list[Import]:
    """The imports that do not lead to a lower rank."""
    return [
        one
        for one in imports
        if (there := layer_of(one.target)) and one.module.layer != there
        if RANKS[there] >= RANKS[one.module.layer]
    ]


def test_imports_point_one_way() -> None:
    """Also those for type checkers only, and those inside functions."""
    assert [str(one) for one in wrong_directions(inner_imports())] == []


def test_no_room_imports_the_package_itself() -> None:
    """Its names are those of upper rooms: a lower one that imported them would close a circle."""
    wrong = [str(one) for one in inner_imports() if layer_of(one.target) == "" and one.module.layer != ""]
    assert wrong == []


def circles(imports: Mapping[str, Set[str]]) -> list[list[str]]:
    """The groups of modules that import each other in a circle: what is left when modules without imports are removed
    again and again, and so are modules that no other one imports."""
    left = {name: set(targets) & imports.keys() for name, targets in imports.items()}
    while ends := [
        name for name, targets in left.items() if not targets or not any(name in others for others in left.values())
    ]:
        for name in ends:
            del left[name]
        for targets in left.values():
            targets -= set(ends)
    return [sorted(left)] if left else []


def imported_modules() -> dict[str, set[str]]:
    names = {module.name: module for module in all_modules() if module.name}
    found: dict[str, set[str]] = {}
    for name, module in names.items():
        found[name] = set()
        for one in imports_of(module):
            target = one.target.removeprefix("antiphon.")
            while target and target not in names:
                target = target.rpartition(".")[0]
            if one.target.startswith("antiphon.") and target and target != name:
                found[name].add(target)
    return found


def test_modules_import_each_other_in_no_circle() -> None:
    """Inside rooms too; imports for type checkers and inside functions included."""
    assert circles(imported_modules()) == []


def test_a_planted_circle_is_found() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert circles(imports) == [["b", "c"]]


def test_a_planted_import_of_an_upper_room_is_found(tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "from antiphon.wire import codec\n"
        "if TYPE_CHECKING:\n    from antiphon.instance import Instance\n"
        "def late():\n    from antiphon.worker.loop import Worker\n"
    )
    planted = Module("watch.planted", path, ast.parse(path.read_text()))
    wrong = wrong_directions(imports_of(planted))
    assert [one.target for one in wrong] == ["antiphon.instance.Instance", "antiphon.worker.loop.Worker"]


def test_the_rules_and_the_wire_import_nothing_impure() -> None:
    wrong = [
        str(one)
        for module in pure_modules()
        for one in imports_of(module)
        if layer_of(one.target) is None and not is_pure(one.target)
    ]
    assert wrong == []


def test_the_rules_and_the_wire_do_not_wait_print_read_a_clock_or_draw_an_id() -> None:
    wrong = [one for module in pure_modules() for one in impure_nodes(module)]
    assert wrong == []


def impure_nodes(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith | ast.Global):
            if module.name in MAY_AWAIT and isinstance(node, ast.AsyncFunctionDef | ast.Await):
                continue
            yield f"{place(module, node)}: {type(node).__name__}"
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in IMPURE_CALLS:
                yield f"{place(module, node)}: {called.id}()"
            elif isinstance(called, ast.Attribute) and called.attr in IMPURE_METHODS:
                yield f"{place(module, node)}: .{called.attr}()"


def test_optional_packages_are_not_imported_by_the_rules_for_certain() -> None:
    """The allow-list names only what comes with Python, and msgspec."""
    assert {name.split(".")[0] for name in PURE} <= {*sys.stdlib_module_names, "msgspec"}


def is_pure(target: str) -> bool:
    parts = target.split(".")
    return any(".".join(parts[:length]) in PURE for length in range(1, len(parts) + 1))


def test_the_allow_list_separates_pure_from_impure_modules() -> None:
    assert all(is_pure(name) for name in ("msgspec.structs.replace", "io.StringIO", "datetime.UTC", "re.compile"))
    assert not any(is_pure(name) for name in ("os", "io.open", "time.time", "asyncio", "random.Random", "structlog"))
