"""Checks of a page as JavaScript for `page.evaluate`: accessibility, horizontal scrolling, and hostile text that
is more than text."""

from __future__ import annotations

FAULTS = """() => {
    const faults = [];
    const isSeen = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('.hidden');
    const all = (selector) => [...document.querySelectorAll(selector)];
    const nameOf = (element) => [
        element.getAttribute('aria-label'),
        ...(element.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean)
            .map((id) => document.getElementById(id)?.textContent ?? ''),
        ...[...(element.labels ?? [])].map((label) => label.textContent),
        ['BUTTON', 'A', 'SUMMARY'].includes(element.tagName) ? element.textContent : '',
    ].join('').trim();
    const show = (element) => element.outerHTML.slice(0, 120);

    for (const element of all('button, a, input, textarea, select, summary, dialog, [role=log]'))
        if (!nameOf(element)) faults.push('no name: ' + show(element));
    for (const image of all('img')) if (!image.hasAttribute('alt')) faults.push('no alt: ' + show(image));
    const ids = all('[id]').map((element) => element.id);
    if (new Set(ids).size !== ids.length) faults.push('an id twice: ' + ids);
    for (const element of all('[aria-describedby], [aria-labelledby], label[for]'))
        for (const name of ['aria-describedby', 'aria-labelledby', 'for'])
            for (const id of (element.getAttribute(name) ?? '').split(' ').filter(Boolean))
                if (!document.getElementById(id)) faults.push('no such id: ' + id);
    if (!document.documentElement.lang) faults.push('no language');
    if (!document.title) faults.push('no title');
    if (all('main').length !== 1) faults.push('not one main');
    const levels = all('h1, h2, h3').filter((h) => isSeen(h) && !h.closest('.markdown')).map((h) => Number(h.tagName[1]));
    if (levels.filter((level) => level === 1).length !== 1) faults.push('not one h1');
    for (const element of all('[tabindex]')) if (element.tabIndex > 0) faults.push('tabindex: ' + show(element));
    for (const element of all('button, summary, .chat-list a')) {
        const { width, height } = element.getBoundingClientRect();
        if (isSeen(element) && (width < 24 || height < 24)) faults.push(`${width} × ${height}: ${show(element)}`);
    }

    // text against what lies behind it, as WCAG 2 counts
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below) => [0, 1, 2].map((n) => top[n] * top[3] + below[n] * (1 - top[3]));
    const light = (color) => color.slice(0, 3).map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, n) => sum + value * [0.2126, 0.7152, 0.0722][n], 0);
    const behind = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) layers.unshift(rgba(getComputedStyle(at).backgroundColor));
        return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
    };
    for (const element of all('#app *')) {
        const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!hasText || !isSeen(element) || element.closest(':disabled, .actions')) continue;
        const ground = behind(element);
        const [one, two] = [light(over(rgba(getComputedStyle(element).color), ground)), light(ground)].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (two + 0.05);
        if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${show(element)}`);
    }
    return faults;
}"""  # noqa: E501
"""Accessibility problems: names, references, headings, sizes, contrasts."""

NO_SIDEWAYS = """() => [...document.querySelectorAll(
    'html, main, .transcript, .queue, .composer, .instances, .instance-open, .log')]
    .every((element) => element.scrollWidth <= element.clientWidth)"""

REMAINS = """() => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const page = all('#app *');
    const written = all('.markdown *, .bubble *, .queued-text *, .title *, .summary *, h1 *, h3 *')
        .filter((element) => !element.closest('.icon'));
    const names = (elements) => elements.flatMap((element) => element.getAttributeNames());
    const schemes = ['http:', 'https:', 'mailto:', 'tel:'];
    const isSafe = (a) => schemes.includes(a.protocol) && a.origin !== location.origin
        && a.rel === 'noopener noreferrer' && a.target === '_blank';
    return {
        run: window.pwned ?? null,
        tags: page.map((element) => element.localName)
            .filter((name) => /^(script|style|iframe|object|embed|link|meta|base|video|audio|math|use)$/.test(name)),
        handlers: names(page).filter((name) => /^(on|srcdoc|srcset|formaction)/.test(name)),
        styles: names(written).filter((name) => /^(style|id|name)$/.test(name)),
        drawings: written.filter((element) => element instanceof SVGElement).length,
        links: all('.markdown a').filter((a) => !isSafe(a)).map((a) => a.outerHTML),
        sources: all('.markdown [src]').map((e) => e.getAttribute('src')).filter((src) => !/^data:image/.test(src)),
    };
}"""
"""The parts of a probe that became more than text."""
NOTHING = {"run": None, "tags": [], "handlers": [], "styles": [], "drawings": 0, "links": [], "sources": []}
