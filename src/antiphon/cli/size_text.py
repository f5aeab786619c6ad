"""Sizes for people."""

from __future__ import annotations


def size_text(size: int) -> str:
    """`12 B`, `1.2 kB`, `3.4 MB`."""
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 1000:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"
