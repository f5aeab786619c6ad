"""The terminal of a conversation, on prompt_toolkit: final text is printed above, where the terminal keeps it; the
unfinished answer, what is asked, the input line and the status line are redrawn below it.

Printing erases the lower part, writes, and draws it again within one frame; the terminal stays in raw mode, so typed
characters are neither lost nor echoed. What is printed and drawn is collected for a frame (`FRAME_S`), so a fast
answer does not write more often than a slow one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.output import create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import SearchToolbar

from antiphon.cli.answer_markup import open_console, without_trailing_spaces
from antiphon.cli.cells import fit, wrap
from antiphon.cli.conversation.prompt_keys import Person, talk_keys
from antiphon.cli.conversation.status_line import Status, status_text
from antiphon.cli.screen import LINES_RESERVED, print_piece, tail_renderables
from antiphon.cli.transcript import Kind, Piece
from antiphon.core.values import Value

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

FRAME_S = 0.08
"""Time between two frames, in seconds."""
PIECES_MAX = 200
"""Maximum number of pieces that one frame prints. More follow in the next frames."""
PENDING_MAX = 5_000
"""Maximum number of pieces that are not printed yet."""
INPUT_LINES_MAX = 12
"""Maximum height of the input line, in lines; a longer text is scrolled."""
MENU_LINES_MAX = 7
QUESTION_LINES_MAX = 12
QUEUE_SHOWN_MAX = 5
"""Maximum number of waiting messages that are shown."""
KEY_S = 0.2
"""How long Esc waits for the rest of a key sequence (Alt+Enter is Esc, Enter), in seconds."""

SYNC_BEGINS, SYNC_ENDS = "\x1b[?2026h", "\x1b[?2026l"
"""Between these a terminal shows nothing of what it gets (synchronized output); others ignore them."""

STYLE = Style.from_dict(
    {
        "prompt": "bold ansicyan",
        "question": "bold",
        "quiet": "#888888",
        "lost": "ansired",
        "status": "#888888",
        "completion-menu": "noinherit",
        "completion-menu.completion": "noinherit",
        "completion-menu.completion.current": "noinherit reverse",
        "completion-menu.meta.completion": "noinherit #888888",
        "completion-menu.meta.completion.current": "noinherit reverse",
        "scrollbar.background": "noinherit",
        "scrollbar.button": "noinherit",
        "search-toolbar": "#888888",
    }
)


class Below(Value):
    """What is drawn below the final text. `tail` is the unfinished end of the answer (Markdown), `question` what is
    asked of the person, `waiting` the messages that wait, `prompt` what stands before the input."""

    tail: str = ""
    activity: str = ""
    question: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    prompt: str = "› "
    status: Status = Status()


class PromptScreen:
    """Run `run` as a task; `print` may be called at any time. `below` gives what is drawn, once a frame; `on_frame`
    is called before that."""

    def __init__(
        self,
        *,
        person: Person,
        below: Callable[[], Below],
        on_frame: Callable[[], None],
        completer: Completer,
        history: History,
        input: Input | None = None,  # noqa: A002 - prompt_toolkit's own word
        output: Output | None = None,
    ) -> None:
        self._make_below = below
        self._on_frame = on_frame
        self._below = Below()
        self._pieces: deque[Piece] = deque()
        self._console = open_console()
        self._dropped = 0
        self._last_kind: Kind | None = None
        self._is_editing = False
        self._tail: tuple[str, int, list[str]] = ("", 0, [])
        self.buffer = Buffer(
            multiline=True,
            history=history,
            completer=completer,
            complete_while_typing=True,
            tempfile_suffix=".md",
        )
        self._app: Application[None] = Application(
            layout=self._layout(),
            style=STYLE,
            key_bindings=talk_keys(person, self._open_editor),
            erase_when_done=True,
            min_redraw_interval=FRAME_S / 4,
            terminal_size_polling_interval=None,
            enable_page_navigation_bindings=False,
            after_render=self._end_sync,
            input=input,
            output=output or _open_output(),
        )
        self._app.timeoutlen = KEY_S
        self._is_synced = False

    @property
    def width(self) -> int:
        return self._app.output.get_size().columns

    @property
    def text(self) -> str:
        return self.buffer.text

    def print(self, pieces: Iterable[Piece]) -> None:
        """Print final text with the next frame. While nothing can be printed (in the editor), the newest are kept."""
        self._pieces.extend(pieces)
        while len(self._pieces) > PENDING_MAX:
            self._pieces.popleft()
            self._dropped += 1

    def ring(self) -> None:
        self._app.output.bell()
        self._app.output.flush()

    def set_text(self, text: str) -> None:
        """Put a text on the input line; the cursor is behind it."""
        self.buffer.complete_state = None
        self.buffer.text = text
        self.buffer.cursor_position = len(text)

    async def run(self) -> None:
        """Draw until cancelled. At the end the lower part is erased, and what was printed last stays."""
        self._write_pieces()  # now, because tmux stores what is erased at the top of its screen
        drawing = asyncio.create_task(self._draw())
        try:
            await self._app.run_async(handle_sigint=True, set_exception_handler=False)
        finally:
            drawing.cancel()
            await asyncio.wait({drawing})
            while self._pieces:
                self._write_pieces()

    def stop(self) -> None:
        """End `run`."""
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    # --- frames

    async def _draw(self) -> None:
        while True:
            self.draw_frame()
            await asyncio.sleep(FRAME_S)

    def draw_frame(self) -> None:
        """Print what is final, and draw the rest if it has changed."""
        self._on_frame()
        below = self._make_below()
        if not self._app.is_running or self._is_editing:
            return
        if self._pieces:
            self._is_synced = True
            self._app.output.write_raw(SYNC_BEGINS)
            self._app.renderer.erase()
            self._write_pieces()
            self._below = below
            self._app.invalidate()
        elif below != self._below:
            self._below = below
            self._app.invalidate()

    def _write_pieces(self) -> None:
        if self._dropped:
            self._pieces.appendleft(Piece(Kind.NOTE, f"({self._dropped} earlier pieces: see `antiphon show`)"))
            self._dropped = 0
        with self._console.capture() as captured:
            for _ in range(min(len(self._pieces), PIECES_MAX)):
                piece = self._pieces.popleft()
                if piece.kind is Kind.USER and self._last_kind not in (None, Kind.USER, Kind.ANSWER):
                    self._console.print()  # a question begins after an empty line
                self._last_kind = piece.kind
                print_piece(self._console, piece)
        self._app.output.write_raw(without_trailing_spaces(captured.get()))
        self._app.output.flush()

    def _end_sync(self, _: object) -> None:
        if self._is_synced:
            self._is_synced = False
            self._app.output.write_raw(SYNC_ENDS)
            self._app.output.flush()

    def _open_editor(self, buffer: Buffer) -> None:
        """Open $VISUAL or $EDITOR with the text. Nothing is printed until it is closed."""

        def close(_: object) -> None:
            self._is_editing = False

        self._is_editing = True
        buffer.open_in_editor().add_done_callback(close)

    # --- the layout

    def _layout(self) -> Layout:
        search = SearchToolbar(ignore_case=True)
        above = Window(
            FormattedTextControl(self._above), dont_extend_height=True, height=Dimension(min=0), wrap_lines=False
        )
        line = Window(
            BufferControl(self.buffer, search_buffer_control=search.control, preview_search=True),
            get_line_prefix=self._line_prefix,
            height=Dimension(min=1, max=INPUT_LINES_MAX),
            wrap_lines=True,
            dont_extend_height=True,
        )
        status = Window(FormattedTextControl(self._status), height=1, dont_extend_height=True)
        has_above = Condition(lambda: bool(self._has_above()))
        menu = CompletionsMenu(max_height=MENU_LINES_MAX)
        return Layout(HSplit([ConditionalContainer(above, has_above), line, menu, search, status]), line)

    def _has_above(self) -> bool:
        below = self._below
        return bool(below.tail.strip() or below.activity or below.question or below.waiting)

    def _line_prefix(self, line_number: int, wrap_count: int) -> StyleAndTextTuples:
        prompt = self._below.prompt
        if line_number == 0 and wrap_count == 0:
            return [("class:prompt", prompt)]
        return [("", " " * len(prompt))] if wrap_count == 0 else []

    def _status(self) -> StyleAndTextTuples:
        status = self._below.status
        style = "class:lost" if status.lost else "class:status"
        return [(style, status_text(status, self.width))]

    def _above(self) -> StyleAndTextTuples:
        below, width = self._below, self.width
        shown: StyleAndTextTuples = []
        for line in self._tail_lines(below.tail, width):
            shown += [*ANSI(line).__pt_formatted_text__(), ("", "\n")]
        if below.activity:
            shown.append(("class:quiet", fit(f"… {below.activity}", width) + "\n"))
        for style, line in self._question_lines(width):
            shown.append((style, line + "\n"))
        for line in below.waiting[:QUEUE_SHOWN_MAX]:
            shown.append(("class:quiet", "  " + fit(line, width - 2) + "\n"))
        if len(below.waiting) > QUEUE_SHOWN_MAX:
            shown.append(("class:quiet", f"  and {len(below.waiting) - QUEUE_SHOWN_MAX} more\n"))
        if shown:
            style, text, *_ = shown[-1]
            shown[-1] = (style, text.removesuffix("\n"))
        return shown

    def _question_lines(self, width: int) -> list[tuple[str, str]]:
        lines = [
            ("class:question" if number == 0 else "", line)
            for number, text in enumerate(self._below.question)
            for line in wrap(text, width)
        ]
        return lines[:QUESTION_LINES_MAX]

    def _tail_lines(self, tail: str, width: int) -> list[str]:
        """The last lines of the unfinished answer, as many as the terminal has room for."""
        if self._tail[:2] != (tail, width):
            with self._console.capture() as captured:
                for part in tail_renderables(tail):
                    self._console.print(part)
            lines = without_trailing_spaces(captured.get()).rstrip("\n").split("\n") if tail.strip() else []
            self._tail = (tail, width, lines)
        rows = self._app.output.get_size().rows
        reserved = LINES_RESERVED + min(len(self._below.waiting), QUEUE_SHOWN_MAX) + len(self._question_lines(width))
        return self._tail[2][-max(rows - reserved, 3) :]


def _open_output() -> Output:
    """The output for stdout. The position of the cursor is not asked for: it is not needed, and not every terminal
    answers."""
    output = create_output()
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False
    return output
