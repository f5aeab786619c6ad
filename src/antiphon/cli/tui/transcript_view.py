"""The transcript of a chat. Only the lines that can be seen are drawn.

An entry that was never drawn has an estimated height. The view is placed by an anchor (the end, or an entry and a
line in it), so that it does not jump when an estimate becomes exact, earlier messages are put above, or the width
changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from antiphon.cli.tui.entries import Entry
from antiphon.cli.tui.entry_lines import Colours, EntryLines, estimated_height
from antiphon.cli.tui.line_positions import LinePositions

LINES_MAX = 20_000
"""Maximum number of drawn lines that are kept in memory."""
PLACINGS_MAX = 12
"""How often heights are corrected for one frame; entries that are drawn change what can be seen."""
EARLIER_LINES = 60
"""Earlier messages are asked for when fewer lines than this are above."""
UNFOLDED_MAX = 1_000


class Drawn(NamedTuple):
    """The lines of an entry, and what they were drawn for."""

    entry: Entry
    width: int
    is_unfolded: bool
    lines: list[Strip]


class TranscriptView(ScrollView, can_focus=True):
    """Call `show` with the entries. It posts `EarlierWanted` when earlier messages are needed, and `EndChanged`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown,space", "page_down", "Page down", show=False),
        Binding("home", "scroll_home", "Beginning", show=False),
        Binding("end", "jump_to_end", "End", show=False),
    ]

    class EarlierWanted(Message):
        """Earlier messages are needed."""

    class EndChanged(Message):
        """Whether the end is shown, or there is something new below."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id)
        self._lines = EntryLines(Colours())
        self._entries: list[Entry] = []
        self._drawn: OrderedDict[str, Drawn] = OrderedDict()
        self._drawn_lines = 0
        self._heights: dict[str, tuple[int, int]] = {}
        """The exact height of an entry by its key, with the width that it was drawn for."""
        self._positions = LinePositions()
        self._unfolded: OrderedDict[str, None] = OrderedDict()
        self._anchor: tuple[str, int] | None = None
        """The topmost entry and its first visible line; None: the end is shown."""
        self._is_placing = False
        self.has_new_below = False

    @property
    def is_at_end(self) -> bool:
        return self._anchor is None

    @property
    def drawn_count(self) -> int:
        """How many entries have their lines in memory."""
        return len(self._drawn)

    def set_colours(self, colours: Colours) -> None:
        self._lines = EntryLines(colours)
        self._forget()
        self._place()

    def show(self, entries: Sequence[Entry], *, from_end: bool = False) -> None:
        """Show these entries. `from_end`: those of another chat, at their end."""
        if from_end:
            self._forget()
            self._unfolded.clear()
            self._anchor, self.has_new_below = None, False
        is_longer = bool(entries) and (not self._entries or entries[-1] != self._entries[-1])
        self._entries = list(entries)
        keys = {entry.key for entry in entries}
        for key in [key for key in self._heights if key not in keys]:
            del self._heights[key]
        if is_longer and self._anchor is not None and not self.has_new_below:
            self.has_new_below = True
            self.post_message(self.EndChanged())
        self._place()

    def toggle(self, key: str) -> None:
        """Unfold an entry, or fold it again."""
        if key in self._unfolded:
            del self._unfolded[key]
        else:
            self._unfolded[key] = None
            if len(self._unfolded) > UNFOLDED_MAX:
                self._unfolded.popitem(last=False)
        self._place()

    def toggle_last(self, kinds: set[str]) -> bool:
        """Unfold or fold the last entry of these kinds. Returns False if there is none."""
        for entry in reversed(self._entries):
            if entry.kind in kinds:
                self.toggle(entry.key)
                return True
        return False

    def action_jump_to_end(self) -> None:
        self._anchor = None
        self._place()
        if self.has_new_below:
            self.has_new_below = False
            self.post_message(self.EndChanged())

    # --- placing

    def on_resize(self, event: events.Resize) -> None:
        self._place()

    def _place(self) -> None:
        """Draw what can be seen, correct the heights, and put the anchor where it was."""
        width, height = self._room
        if width < 1 or height < 1:
            return
        self._positions = LinePositions(self._height(entry, width) for entry in self._entries)
        y = 0
        for _ in range(PLACINGS_MAX):
            y = self._first_line(height)
            changed = {}
            for index in self._positions.between(y, y + height - 1):
                exact = len(self._draw(self._entries[index], width))
                if exact != self._positions.height(index):
                    changed[index] = exact
            if not changed:
                break
            self._positions.set_heights(changed)
        self._is_placing = True
        self.virtual_size = Size(width, self._positions.total)
        self.scroll_to(y=y, animate=False)
        self._is_placing = False
        self.refresh()
        self._ask_for_earlier()

    @property
    def _room(self) -> tuple[int, int]:
        region = self.scrollable_content_region
        return region.width, region.height

    def _first_line(self, height: int) -> int:
        """The first visible line."""
        end = max(self._positions.total - height, 0)
        if self._anchor is None:
            return end
        key, line = self._anchor
        for index, entry in enumerate(self._entries):
            if entry.key == key:
                return min(self._positions.top(index) + min(line, max(self._positions.height(index) - 1, 0)), end)
        self._anchor = None  # the entry was removed: an edit, say
        return end

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._is_placing or not self._entries or round(old_value) == round(new_value):
            return
        width, height = self._room
        was_at_end, y = self.is_at_end, round(new_value)
        if y >= self._positions.total - height:
            self._anchor, self.has_new_below = None, False
        else:
            index, line = self._positions.at(y)
            entry, before = self._entries[index], self._positions.height(index)
            if new_value < old_value:  # the estimate's end, not its beginning, is next to what was seen
                line = max(len(self._draw(entry, width)) - (before - line), 0)
            self._anchor = (entry.key, line)
        if was_at_end != self.is_at_end:
            self.post_message(self.EndChanged())
        self._place()

    def _ask_for_earlier(self) -> None:
        if self._entries and round(self.scroll_y) < EARLIER_LINES:
            self.post_message(self.EarlierWanted())

    # --- drawing

    def _height(self, entry: Entry, width: int) -> int:
        drawn = self._drawn.get(entry.key)
        is_unfolded = entry.key in self._unfolded
        if drawn is not None and self._is_current(drawn, entry, width):
            return len(drawn.lines)
        known = self._heights.get(entry.key)
        if known is not None and known[0] == width and drawn is None and not entry.is_foldable:
            return known[1]
        return estimated_height(entry, width, is_unfolded=is_unfolded)

    def _is_current(self, drawn: Drawn, entry: Entry, width: int) -> bool:
        return (drawn.width, drawn.is_unfolded) == (width, entry.key in self._unfolded) and drawn.entry == entry

    def _draw(self, entry: Entry, width: int) -> list[Strip]:
        drawn = self._drawn.get(entry.key)
        if drawn is not None and self._is_current(drawn, entry, width):
            self._drawn.move_to_end(entry.key)
            return drawn.lines
        if drawn is not None:
            self._drawn_lines -= len(drawn.lines)
        is_unfolded = entry.key in self._unfolded
        lines = self._lines.draw(entry, width, is_unfolded=is_unfolded)
        self._drawn[entry.key] = Drawn(entry, width, is_unfolded, lines)
        self._drawn.move_to_end(entry.key)
        self._heights[entry.key] = (width, len(lines))
        self._drawn_lines += len(lines)
        while self._drawn_lines > LINES_MAX and len(self._drawn) > 1:
            _, oldest = self._drawn.popitem(last=False)
            self._drawn_lines -= len(oldest.lines)
        return lines

    def _forget(self) -> None:
        self._drawn.clear()
        self._heights.clear()
        self._drawn_lines = 0

    def render_line(self, y: int) -> Strip:
        width, _ = self._room
        line = round(self.scroll_y) + y
        strip = Strip.blank(width, self.rich_style)
        if line < self._positions.total and self._entries:
            index, place = self._positions.at(line)
            lines = self._draw(self._entries[index], width)
            if place < len(lines):
                strip = lines[place].crop_extend(0, width, self.rich_style)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(line)) is not None:
            strip = self._selected(strip, span, width)
        return strip.apply_style(self.rich_style).apply_offsets(0, line)

    def _selected(self, strip: Strip, span: tuple[int, int], width: int) -> Strip:
        start, end = span[0], width if span[1] == -1 else span[1]
        style = self.screen.get_component_rich_style("screen--selection")
        first, middle, last = (strip.crop(a, b) for a, b in ((0, start), (start, end), (end, width)))
        return Strip.join([first, Strip(middle.apply_style(style)), last])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, without the spaces at the ends of its lines."""
        lines = []
        for entry in self._entries:
            drawn = self._drawn.get(entry.key)
            shown = [strip.text.rstrip() for strip in drawn.lines] if drawn is not None else []
            lines += shown or [""] * self._height(entry, self._room[0])
        return selection.extract("\n".join(lines)), "\n"

    def on_click(self, event: events.Click) -> None:
        """A click on the line of a tool call or of thoughts unfolds it."""
        if not self._entries:
            return
        index, place = self._positions.at(round(self.scroll_y) + event.y)
        entry = self._entries[index]
        if entry.is_foldable and place == (0 if entry.is_joined else 1):
            self.toggle(entry.key)
