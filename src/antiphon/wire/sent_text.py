"""The text of an answer in a protocol that cannot take back what it has sent.

An answer may be begun again: its worker is lost, or the model call is repeated. The text of the new try is compared
with what was sent. While it agrees, it is left out, and the stream goes on seamlessly; if it does not, the stream
must end.
"""

from __future__ import annotations

BETWEEN = "\n\n"
"""What separates the texts of an answer that are parts of their own."""


class SentText:
    """The text up to now. `add` returns what is to be sent of a piece."""

    def __init__(self, *, is_sent: bool = True) -> None:
        """`is_sent`: the client has the text; else it gets the whole at the end, and a text may be replaced."""
        self.pieces: list[str] = []
        self._is_sent = is_sent
        self._committed = 0
        """Number of the pieces that belong to committed messages."""
        self._expected = ""
        """Text that was sent of an abandoned try, and that the new one has not repeated yet."""

    def add(self, text: str) -> str | None:
        """What is to be sent; empty: the client has it already. None: the text differs from what was sent."""
        expected, self._expected = self._expected, self._expected[len(text) :]
        if not text.startswith(expected[: len(text)]):
            return None
        self.pieces.append(text)
        return text[len(expected) :]

    def abandon(self) -> None:
        """What was sent of this try is expected of the next one. It may itself be a beginning of an earlier try."""
        if self._is_sent:
            self._expected = "".join(self.pieces[self._committed :]) + self._expected
        del self.pieces[self._committed :]

    def commit(self) -> bool:
        """The message is committed. False: more was sent than it has."""
        self._committed = len(self.pieces)
        return not self._expected
