"""Each concept lives in one file that is named by its noun, says what it is, and fits in a reader's head."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from .modules import Module, all_modules

NOT_A_NOUN = {"util", "utils", "helper", "helpers", "common", "misc"}

LINES_MAX = 600
"""At 400 the house style looks for a second noun; here is where it must have been found."""

FUNCTION_LINES_MAX = 75

MODULES = [module for module in all_modules() if module.path.read_text(encoding="utf-8").strip()]


def classes_and_functions(module: Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("module", all_modules(), ids=lambda module: module.name or "antiphon")
def test_no_module_is_named_by_what_it_is_not(module: Module) -> None:
    assert not NOT_A_NOUN & set(module.name.split("."))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name or "antiphon")
def test_every_module_says_what_it_is(module: Module) -> None:
    assert ast.get_docstring(module.tree)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name or "antiphon")
def test_every_public_class_says_what_it_is_or_inherits_its_words(module: Module) -> None:
    """A subclass may be explained by its base and its name (a command, a fact, an error, an adapter), a record by
    its fields."""
    silent = [
        f"{module.name}:{node.lineno} {node.name}"
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not node.bases
        and not is_record(node)
    ]
    assert silent == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name or "antiphon")
def test_a_long_public_function_says_what_it_does(module: Module) -> None:
    """A short one may be obvious: its name, its types and a few lines say it all."""
    silent = [
        f"{module.name}:{node.lineno} {node.name}"
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not node.decorator_list
        and not ast.get_docstring(node)
        and lines_of(node) > 40
    ]
    assert silent == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name or "antiphon")
def test_a_file_and_its_functions_fit_in_a_head(module: Module) -> None:
    assert len(module.path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX
    long = [
        f"{module.name}:{node.lineno} {node.name} has {lines_of(node)} lines"
        for node in classes_and_functions(module)
        if not isinstance(node, ast.ClassDef) and lines_of(node) > FUNCTION_LINES_MAX
    ]
    assert long == []


def is_record(node: ast.ClassDef) -> bool:
    """Nothing but fields."""
    methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)]
    return all(method.name == "__init__" for method in methods)


def lines_of(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1
