"""Imports point one way, and the rules are pure (docs/architecture.md, *The rooms*)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache

from .modules import Import, Module, all_modules, imports_of, place

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("core",),
    ("wire",),
    ("ports",),
    ("lockfile", "keepalive", "descriptors"),
    ("keys",),
    ("outbound",),
    ("postgres",),
    ("chats", "store", "bus", "client", "discovery", "stalls"),
    ("edge", "worker", "backends"),
    ("sharing",),
    ("app",),
    ("whereabouts",),
    ("standby", "lifetime"),
    ("replica",),
    ("serve",),
    ("testing",),
    ("cli",),
)
"""Lowest first; neighbours in one tuple do not know each other. A new part of the package gets its place here."""

LEAVES = ("config", "observe", "clock")
"""May be imported from anywhere above `ports`, and import nothing above `core` themselves."""

NAMED_ONLY = {("edge", "app")}
"""What is passed in by the layer above, and only named in annotations here."""

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
    """The part of the package that an import leads to; None: outside. The package itself is ``."""
    parts = target.split(".")
    if parts[0] != "antiphon":
        return None
    return parts[1] if len(parts) > 1 and (parts[1] in RANKS or parts[1] in LEAVES) else ""


@cache
def inner_imports() -> list[Import]:
    return [
        one
        for module in all_modules()
        if module.name
        for one in imports_of(module)
        if layer_of(one.target) is not None
    ]


def test_every_part_of_the_package_has_its_place() -> None:
    parts = {module.layer for module in all_modules() if module.layer}
    assert parts <= {*RANKS, *LEAVES}


def test_imports_point_one_way() -> None:
    wrong = []
    for one in inner_imports():
        here, there = one.module.layer, layer_of(one.target)
        if here in LEAVES or there in LEAVES or not there or here == there:
            continue
        if one.is_type_only and (here, there) in NAMED_ONLY:
            continue
        if RANKS[there] >= RANKS[here]:
            wrong.append(str(one))
    assert wrong == []


def test_leaves_are_not_imported_by_the_rules() -> None:
    below = {name for names in LAYERS[:4] for name in names}
    wrong = [str(one) for one in inner_imports() if one.module.layer in below and layer_of(one.target) in LEAVES]
    assert wrong == []


def test_leaves_import_values_and_errors_at_most() -> None:
    allowed = {"errors", "core", *LEAVES}
    wrong = [
        str(one) for one in inner_imports() if one.module.layer in LEAVES and layer_of(one.target) not in allowed
    ]
    assert wrong == []


def test_only_the_upper_layers_ask_the_package_itself() -> None:
    """Its names are those of the layers below `cli`: a lower one that took them would go in a circle."""
    wrong = [
        str(one)
        for one in inner_imports()
        if not layer_of(one.target) and RANKS.get(one.module.layer, 0) < RANKS["edge"]
    ]
    assert wrong == []


def test_nothing_but_the_suites_themselves_needs_the_fakes() -> None:
    wrong = [
        str(one) for one in inner_imports() if layer_of(one.target) == "testing" and one.module.layer != "testing"
    ]
    assert wrong == []


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


def test_the_allow_list_tells_pure_from_impure() -> None:
    assert all(is_pure(name) for name in ("msgspec.structs.replace", "io.StringIO", "datetime.UTC", "re.compile"))
    assert not any(is_pure(name) for name in ("os", "io.open", "time.time", "asyncio", "random.Random", "structlog"))


def test_the_clients_modules_import_each_other_in_no_circle() -> None:
    """`TYPE_CHECKING` included."""
    prefix = "antiphon."
    modules = {module.name: module for module in all_modules() if module.name.startswith("client.")}
    imported = {
        name: {
            target
            for found in imports_of(module)
            for target in modules
            if found.target == prefix + target or found.target.startswith(prefix + target + ".")
        }
        for name, module in modules.items()
    }
    while leaves := [name for name, targets in imported.items() if not targets & imported.keys()]:
        for name in leaves:
            del imported[name]
    assert not imported
