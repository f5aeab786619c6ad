"""Renders the `mermaid` diagrams of the documents into docs/diagrams, for the documentation site.

Each picture begins with the SHA-256 of the diagram it was rendered from; a test finds pictures that are out of date.
Rendering needs npm and Chromium. Run it: ./dev docs --diagrams
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "diagrams"
BLOCK = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
MERMAID = "mermaid@11"
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
ON_WHITE = "background-color: white; "
"""Style of a picture: it stays readable where the site is dark."""
RENDER = """async (source) => {
  mermaid.initialize({startOnLoad: false, theme: "neutral", fontFamily: "sans-serif", htmlLabels: false,
                      deterministicIds: true, flowchart: {htmlLabels: false, useMaxWidth: true}});
  return (await mermaid.render("diagram", source)).svg;
}"""


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]


def diagrams(document: Path) -> Iterator[tuple[Path, str]]:
    """The picture of each diagram of a document, and the diagram's source."""
    for number, match in enumerate(BLOCK.finditer(document.read_text()), 1):
        yield picture_of(document, number), match[1]


def picture_of(document: Path, number: int) -> Path:
    return PICTURES / f"{document.stem.lower()}-{number}.svg"


def mark(source: str) -> str:
    """The first line of a picture: which diagram it was rendered from."""
    return f"<!-- diagram {hashlib.sha256(source.encode()).hexdigest()} -->\n"


def stale_pictures() -> list[Path]:
    """Pictures that are missing or were rendered from another diagram."""
    wanted = [pair for document in documents() for pair in diagrams(document)]
    return [file for file, source in wanted if not file.exists() or not file.read_text().startswith(mark(source))]


def main() -> int:
    from playwright.sync_api import sync_playwright

    stale = set(stale_pictures())
    if not stale:
        return 0
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, MERMAID], check=True)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page()
        page.add_script_tag(path=f"{folder}/node_modules/mermaid/dist/mermaid.min.js")
        for document in documents():
            for file, source in diagrams(document):
                if file in stale:
                    svg = page.evaluate(f"({RENDER})({json.dumps(source)})")
                    file.write_text(mark(source) + svg.replace('style="', f'style="{ON_WHITE}', 1) + "\n")
                    print(f"rendered {file.relative_to(ROOT)}")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
