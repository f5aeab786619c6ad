"""The width of text in a terminal: a wide character or an emoji takes two cells, a combining mark none."""

from __future__ import annotations

from rich.cells import cell_len, chop_cells, set_cell_size

from antiphon.cli.clean import clean_line


def fit(text: str, width: int) -> str:
    """One line of at most `width` cells, without escape sequences; a longer one ends with `…`."""
    line = clean_line(text)
    if cell_len(line) <= width:
        return line
    return set_cell_size(line, width - 1).rstrip() + "…" if width > 0 else ""


def fit_end(text: str, width: int) -> str:
    """As `fit`, with the end of a longer text, which is what distinguishes paths and addresses."""
    line = clean_line(text)
    if cell_len(line) <= width:
        return line
    while line and cell_len(line) > width - 1:
        line = line[1:]
    return "…" + line if width > 0 else ""


def pad(text: str, width: int) -> str:
    """One line of exactly `width` cells: it is shortened, or filled with spaces."""
    line = fit(text, width)
    return line + " " * (width - cell_len(line))


def wrap_words(words: list[str], width: int, *, gap: str = " · ") -> str:
    """As many of the words, the first ones, as fit on one line."""
    line = fit(words[0], width) if words else ""
    for word in words[1:]:
        longer = f"{line}{gap}{clean_line(word)}"
        if cell_len(longer) > width:
            break
        line = longer
    return line


def wrap(text: str, width: int, *, indent: str = "") -> list[str]:
    """One line of text as lines of at most `width` cells, cut at spaces where possible; all but the first begin with
    `indent`."""
    lines, line = [], ""
    for word in clean_line(text).split(" "):
        longer = f"{line} {word}" if line.strip() else line + word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line.strip():
            lines.append(line)
            line = indent
        room = max(width - cell_len(line), 1)
        *whole, rest = chop_cells(word, room) if cell_len(word) > room else [word]
        lines += [line + piece for piece in whole]
        line = (indent if whole else line) + rest
    return [*lines, line]
