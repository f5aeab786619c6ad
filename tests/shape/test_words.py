"""The project is written in standard English terms: dialect words fail here, with the term to use instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".js", ".mjs", ".html", ".css", ".md", ".sql", ".toml", ".sh"}
EVERYTHING = ("src", "docs", "tests", "scripts", "examples", "benchmarks", "README.md", "CHANGELOG.md")

NOT_OURS = re.compile(r"(^|/)(vendor|node_modules|__pycache__)/|^tests/replay/v\d+/|^tests/shape/test_words\.py$")
"""Vendored files, recorded histories, and this list itself."""

DIALECT: dict[str, str] = {
    r"tell|tells|telling|told": "publish, notify, send, report, announce, say, distinguish",
    r"(?<!-)look(s|ed|ing)?(?!-?up\b)(?! (up|like|alike)\b)": "poll, check, refresh, read, query, search",
    r"anew": "re-: rebind, reconnect, restart, rebuild; again",
    r"(let|lets|letting) (it |them |one |its \w+ )?go": "release",
    r"so (many|long|much)": "maximum …, how long …, size of …",
    r"whoever|somebody|nobody|someone|anybody|whom": "a client, a peer, a subscriber, an instance, no instance",
    r"(is|are|was|be|being|been|has|have|having) heard( of)?|heard of|who (listens|hears)": "subscribed, received",
    r"inquests?": "failure detection, liveness check",
    r"signs? of life": "heartbeat; check that the instance responds",
    r"(stands?|stood|waits?|waiting) in line|waiting line": "is queued",
    r"pens?": "draft writer",
    r"lift(s|ed|ing)?": "close",
    r"stor(y|ies)": "decision",
    r"errands?": "background tasks",
    r"wish(es|ed)?": "options, request",
    r"oddit(y|ies)": "unexpected events",
    r"whereabouts": "addresses, location",
    r"mirror(s|ed|ing)?": "replica of a draft",
    r"owes?|owed": "must send, must notify",
    r"knock(s|ed|ing)?": "connection of an unknown instance",
    r"carriers?": "connection",
    r"outbox(es)?": "send queue",
    r"doors?": "API, endpoint",
    r"(comes?|came) next|what there is": "the next batch, the pending events",
    r"(comes?|came) to an end|(is|are|was|were) over(?! [a-z`]+)": "is closed, completed, expired, cancelled",
    r"(be|being) (there|gone)": "register, deregister",
    r"(is|are|was) to be had": "is available",
    r"near": "local, in-process",
    r"(?<!so )(?<!as )(?<!too )(?<!by )far(?! (more|less|as|from|too)\b)": "remote, networked",
    r"elsewhere(?! called)": "on another instance, on other replicas",
}
"""Regular expressions of whole words, over text whose identifiers are split into words, and what to write instead."""

METHODS = "publish, claim, accept, apply, handle, dequeue, next_batch, update, refresh, check"
NAMES: dict[str, str] = {
    r"(?:\bdef |^\s+(?:async )?(?:static )?)(?:take|know|free|lift|story|look|tell|told)\((?=.*[{:]\s*$)": METHODS,
    r"\bclass _?(?:Kept|Known|Told|Wish|Story|Pen|Near|Far)\b": "a noun that an engineer would guess",
}
"""Regular expressions over the text as it stands: definitions whose name has no one meaning."""


class AllowedUse(NamedTuple):
    """A real use of a word: in which files, in which text around it, and why it stays."""

    path: str
    text: str
    reason: str


ALLOWED: tuple[AllowedUse, ...] = (
    AllowedUse(r"^src/antiphon/models/rehearsal\.py$", "slash tell me what to do", "the model's own greeting"),
    AllowedUse(r"", r"antiphon-elsewhere", "the name of a header on the wire"),
    AllowedUse(r"^src/antiphon/page/", r"(?i)outbox", "the usual term for unconfirmed messages of a client"),
)


class Offence(NamedTuple):
    path: str
    line: int
    words: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.words}' -> {self.instead}"


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[re.Pattern[str], str], dict[re.Pattern[str], str]]:
    words = {re.compile(rf"\b(?:{pattern})\b"): instead for pattern, instead in DIALECT.items()}
    return words, {re.compile(pattern, re.MULTILINE): instead for pattern, instead in NAMES.items()}


@lru_cache(maxsize=1)
def _any_word() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(DIALECT)})\b")


def split_identifiers(text: str) -> str:
    """`DraftWriter`, `draft_writer` and `DRAFT_WRITER` as `draft writer`; lines stay lines."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text).replace("_", " ").lower()


def offences_in(path: str, text: str) -> Iterator[Offence]:
    words, names = _tables()
    lines = text.splitlines()
    for number, line in enumerate(split_identifiers(text).splitlines(), 1):
        if _any_word().search(line) and not _is_allowed(path, lines[number - 1]):
            for pattern, instead in words.items():
                yield from (Offence(path, number, match[0], instead) for match in pattern.finditer(line))
    for pattern, instead in names.items():
        for match in pattern.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            if not _is_allowed(path, lines[number - 1]):
                yield Offence(path, number, match[0].strip(), instead)


def _is_allowed(path: str, line: str) -> bool:
    return any(re.search(one.path, path) and re.search(one.text, line) for one in ALLOWED)


def files_in(root: Path, parts: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """The text files below `parts` that are the project's own, by their path from `root`."""
    for part in parts:
        start = root / part
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            name = path.relative_to(root).as_posix()
            if path.suffix in SUFFIXES and path.is_file() and not NOT_OURS.search(name):
                yield name, path


def offences(root: Path, parts: Iterable[str]) -> list[Offence]:
    """Of file names as well as of lines; a file's name counts as its line 0."""
    found = []
    for name, path in files_in(root, parts):
        found += [one._replace(line=0) for one in offences_in(name, path.stem)]
        found += offences_in(name, path.read_text(encoding="utf-8"))
    return found


def test_every_file_uses_standard_terms() -> None:
    found = offences(ROOT, EVERYTHING)
    assert not found, "\n".join(["dialect, and the term to use instead:", *map(str, found)])


def test_every_exception_is_still_needed() -> None:
    files = [(name, path.read_text(encoding="utf-8")) for name, path in files_in(ROOT, EVERYTHING)]
    unused = [
        one
        for one in ALLOWED
        if not any(re.search(one.path, name) and re.search(one.text, text, re.MULTILINE) for name, text in files)
    ]
    assert unused == []


def test_planted_dialect_is_reported_with_its_file_and_line(tmp_path: Path) -> None:
    planted = {
        "src/whereabouts.py": 'LOG = "bus_told"\n',
        "src/relay.py": (
            "class DraftPen:\n"
            '    """Bounds the queue."""\n\n'
            "    def let_go(self) -> None: ...\n\n"
            "    def take(self, what: str) -> None:\n"
            "        self.HEARD = isHeardByNobody  # so many at a time\n"
        ),
        "docs/page.md": "A replica looks for chats.\n",
        "src/page/view.js": "export class View {\n  take(event) {\n  }\n}\n",
        "src/vendor/kept.js": "told\n",
    }
    for name, text in planted.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = {(one.path, one.line, one.words) for one in offences(tmp_path, ("src", "docs"))}
    assert found == {
        ("src/whereabouts.py", 0, "whereabouts"),
        ("src/whereabouts.py", 1, "told"),
        ("src/relay.py", 1, "pen"),
        ("src/relay.py", 4, "let go"),
        ("src/relay.py", 6, "def take("),
        ("src/relay.py", 7, "is heard"),
        ("src/relay.py", 7, "nobody"),
        ("src/relay.py", 7, "so many"),
        ("docs/page.md", 1, "looks"),
        ("src/page/view.js", 2, "take("),
    }


def test_standard_english_is_not_reported() -> None:
    text = "look up a chat; lookup_table; looks like JSON; so far; farther; nearest; open; happens; history; lifted_x"
    assert [one.words for one in offences_in("a.py", text)] == ["lifted"]
    assert not list(offences_in("a.py", "result = queue.take()  # dequeues; a known id\n"))
