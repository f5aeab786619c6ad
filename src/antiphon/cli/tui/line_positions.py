"""Where the entries of a transcript are: their heights are exact once they are drawn, and estimated before. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate


class LinePositions:
    """`heights` in lines. `total` is the height of all entries."""

    def __init__(self, heights: Iterable[int] = ()) -> None:
        self._heights = list(heights)
        self._tops = [0, *accumulate(self._heights)]

    @property
    def total(self) -> int:
        return self._tops[-1]

    def top(self, index: int) -> int:
        return self._tops[index]

    def height(self, index: int) -> int:
        return self._heights[index]

    def at(self, line: int) -> tuple[int, int]:
        """The entry at a line, and the line within it. The first one for a line above, the last one for one below."""
        if not self._heights:
            return 0, 0
        index = min(max(bisect_right(self._tops, line) - 1, 0), len(self._heights) - 1)
        return index, min(max(line - self._tops[index], 0), max(self._heights[index] - 1, 0))

    def between(self, first: int, last: int) -> range:
        """The entries of the lines from `first` to `last`."""
        if not self._heights:
            return range(0)
        return range(self.at(first)[0], self.at(last)[0] + 1)

    def set_heights(self, changed: dict[int, int]) -> None:
        """Replace heights by index."""
        for index, height in changed.items():
            self._heights[index] = height
        self._tops = [0, *accumulate(self._heights)]
