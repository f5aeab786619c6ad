"""axe-core in a page: the accessibility rules that a program can check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Page

from how_to.node import node, node_marks

WANTED = Path(__file__).parent / "package.json"
FOLDER = Path(__file__).parents[2] / ".tools" / "page"
RUN = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ['violations'] });
    return violations.map(({ id, help, nodes }) => [id, help, nodes.slice(0, 3).map(({ html, failureSummary }) =>
        html.slice(0, 200) + ' ' + failureSummary.slice(0, 300))]);
}"""

AXE_MARKS = node_marks(WANTED, FOLDER)
"""For a test that calls `violations_of`."""


async def violations_of(page: Page) -> Any:
    """What axe-core finds in the page as it is now: [rule, sentence, elements]."""
    if not await page.evaluate("'axe' in window"):
        node(WANTED, FOLDER)
        await page.evaluate((FOLDER / "node_modules" / "axe-core" / "axe.min.js").read_text())
    return await page.evaluate(RUN)
