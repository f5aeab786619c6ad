"""The typed dictionaries of responses are generated from the route table."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_the_shapes_are_fresh() -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        from client_shapes import FILE, made
    finally:
        sys.path.pop(0)
    assert FILE.read_text(encoding="utf-8") == made(), "shapes.py is stale: run scripts/client_shapes.py"


def test_a_response_of_a_type_without_a_shape_fails() -> None:
    """`made` lists the types of all responses; a new one needs a shape, or an entry among those without."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import client_shapes
    finally:
        sys.path.pop(0)
    known = {*client_shapes.NAMES, *client_shapes.OTHERS, *client_shapes.NOT_IN_CLIENTS}
    assert set(client_shapes.response_types()) <= known
