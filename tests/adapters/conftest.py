"""The frameworks are imported when the first test of a file runs, and not by each test process that collects it: that
would take five seconds in each."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module", autouse=True)
def frameworks(request: pytest.FixtureRequest) -> None:
    """Run the imports that the test file has for type checkers."""
    module: ModuleType = request.module
    source = Path(str(module.__file__)).read_text()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            imports = ast.Module(body=statement.body, type_ignores=[])
            exec(compile(imports, str(module.__file__), "exec"), vars(module))  # noqa: S102 - its own source
