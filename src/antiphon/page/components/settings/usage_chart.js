// A bar chart of tokens by day, as SVG. Each bar says its day and its sum; the table below has the same figures.

import { html } from '../html.js';

const [WIDTH, HEIGHT, BOTTOM] = [600, 140, 18];
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', timeZone: 'UTC' });

const dayWords = (day) => DAY.format(new Date(`${day}T00:00:00Z`));

/** `bars`: {day, tokens}, at least one of which has tokens. */
export function UsageChart({ bars }) {
  const most = Math.max(...bars.map(({ tokens }) => tokens));
  const step = WIDTH / bars.length;
  const total = bars.reduce((sum, { tokens }) => sum + tokens, 0);
  const period = `Tokens by day from ${dayWords(bars[0].day)} to ${dayWords(bars.at(-1).day)}`;
  const label = `${period}: ${total.toLocaleString()} in all, at most ${most.toLocaleString()} in a day.`;
  return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT + BOTTOM}" role="img" aria-label=${label} data-testid="usage-chart">
    <line x1="0" x2=${WIDTH} y1=${HEIGHT} y2=${HEIGHT} />
    ${bars.map(({ day, tokens }, index) => {
      const height = tokens ? Math.max(2, (tokens / most) * (HEIGHT - 6)) : 0;
      return html`<rect key=${day} x=${index * step + step * 0.12} width=${step * 0.76} y=${HEIGHT - height} height=${height} rx="2">
        <title>${dayWords(day)}: ${tokens.toLocaleString()} tokens</title>
      </rect>`;
    })}
    <text x="0" y=${HEIGHT + 14}>${dayWords(bars[0].day)}</text>
    <text x=${WIDTH} y=${HEIGHT + 14} text-anchor="end">${dayWords(bars.at(-1).day)}</text>
  </svg>`;
}
