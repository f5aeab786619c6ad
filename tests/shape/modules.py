"""The modules of the package as text: names, trees and imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2] / "src" / "antiphon"


class Module(NamedTuple):
    """`name` without the package's own: `core.chat`, `errors`, `` for the package itself."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def layer(self) -> str:
        return self.name.split(".")[0]

    @property
    def is_public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))


class Import(NamedTuple):
    """One imported module or name, written out in full; `is_type_only`: under `if TYPE_CHECKING`."""

    module: Module
    target: str
    line: int
    is_type_only: bool

    def __str__(self) -> str:
        return f"{place(self.module)}:{self.line} imports {self.target}"


def place(module: Module, node: ast.stmt | ast.expr | None = None) -> str:
    """The file of a module, with the line of a node in it: `src/antiphon/clock.py:12`."""
    file = str(module.path.relative_to(ROOT.parent.parent))
    return file if node is None else f"{file}:{node.lineno}"


@lru_cache(maxsize=1)
def all_modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(found)


def imports_of(module: Module) -> Iterator[Import]:
    """All of them, also inside functions."""
    nodes = list(ast.walk(module.tree))
    type_only = {id(node) for test in nodes if _is_type_checking(test) for node in ast.walk(test)}
    for node in nodes:
        is_type_only = id(node) in type_only
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, is_type_only)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module.name}:{node.lineno}: imports are written out in full"
            assert node.module
            for alias in node.names:
                yield Import(module, f"{node.module}.{alias.name}", node.lineno, is_type_only)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
