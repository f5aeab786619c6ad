"""Each concept lives in one file that is named by its noun, says what it is, and fits in a reader's head."""

from __future__ import annotations

import ast

from .modules import Module, all_modules, place

NOT_A_NOUN = {"util", "utils", "helper", "helpers", "common", "misc"}

LINES_MAX = 400
"""Maximum length of a file. A longer one has a second noun."""

FUNCTION_LINES_MAX = 60


def written_modules() -> list[Module]:
    """All but the empty files."""
    return [module for module in all_modules() if module.tree.body]


def test_no_module_is_named_by_what_it_is_not() -> None:
    wrong = [place(module) for module in all_modules() if NOT_A_NOUN & set(module.name.split("."))]
    assert wrong == []


def test_every_module_says_what_it_is() -> None:
    silent = [place(module) for module in written_modules() if not ast.get_docstring(module.tree)]
    assert silent == []


def test_every_public_class_says_what_it_is_or_inherits_its_words() -> None:
    """A subclass may be explained by its base and its name (a command, a fact, an error, an adapter), a record by
    its fields."""
    silent = [
        f"{place(module, node)} {node.name}"
        for module in written_modules()
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not node.bases
        and not is_record(node)
    ]
    assert silent == []


def test_a_long_public_function_says_what_it_does() -> None:
    """A short one may be obvious: its name, its types and a few lines say it all."""
    silent = [
        f"{place(module, node)} {node.name}"
        for module in written_modules()
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not node.decorator_list
        and not ast.get_docstring(node)
        and lines_of(node) > 40
    ]
    assert silent == []


def test_a_file_fits_in_a_head() -> None:
    """A generated file is not read from top to bottom: it grows with what it is made from."""
    lines = {
        place(module): len(module.path.read_text(encoding="utf-8").splitlines())
        for module in written_modules()
        if "Do not edit" not in (ast.get_docstring(module.tree) or "")
    }
    long = [f"{name} has {count} lines" for name, count in lines.items() if count > LINES_MAX]
    assert long == []


def test_a_function_fits_in_a_head() -> None:
    long = [
        f"{place(module, node)} {node.name} has {lines_of(node)} lines"
        for module in written_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > FUNCTION_LINES_MAX
    ]
    assert long == []


def is_record(node: ast.ClassDef) -> bool:
    """Nothing but fields."""
    methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)]
    return all(method.name == "__init__" for method in methods)


def lines_of(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1
