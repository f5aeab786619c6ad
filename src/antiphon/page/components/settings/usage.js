// What the person has used: today, in the last days by day and model, and what is left of the budgets.

import { useState } from '../../vendor/preact-hooks.js';
import { request } from '../../api.js';
import { countWords } from '../../instance_words.js';
import { modelWords } from '../../providers.js';
import { barsOf, budgetOf, costWords, daysBetween, sumsBy, tokensOf } from '../../usage.js';
import { html } from '../html.js';
import { LoadState, useLoaded } from './loaded.js';
import { Segments } from './segments.js';
import { UsageChart } from './usage_chart.js';

const PERIODS = [
  [7, '7 days'],
  [30, '30 days'],
  [90, '90 days'],
];
const DAY_MS = 86_400_000;
const CLOCK = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export function Usage() {
  const [count, setCount] = useState(30);
  return html`
    <${Segments} name="period" legend="Period" isLegendHidden options=${PERIODS} value=${count} onChange=${setCount} />
    <${Period} key=${count} count=${count} />
  `;
}

/** The days of the server are in UTC. */
const dayBefore = (count) => new Date(Date.now() - count * DAY_MS).toISOString().slice(0, 10);

function Period({ count }) {
  const loaded = useLoaded(() => request('GET', `/usage?from=${dayBefore(count - 1)}&to=${dayBefore(0)}`));
  const usage = loaded.value;
  return html`<${LoadState} loaded=${loaded} />${usage && html`<${Shown} usage=${usage} />`}`;
}

function Shown({ usage }) {
  const { rows, currency, total, budgets } = usage;
  const today = rows.filter((row) => row.day === usage.last_day);
  return html`
    <dl class="figures">
      <${Figure} label="Today" rows=${today} currency=${currency} />
      <${Figure} label="In this period" rows=${rows} currency=${currency} />
    </dl>
    ${
      total.unpriced_tokens > 0 &&
      currency &&
      html`<p class="hint">
      ${total.unpriced_tokens.toLocaleString()} tokens have no price and are not in the cost.</p>`
    }
    ${!currency && html`<p class="hint">Costs are not shown: the operator of this server has set no prices.</p>`}
    ${
      budgets.length > 0 &&
      html`<h3>Budgets of today</h3>
      <ul class="cards">${budgets.map((budget) => html`<${Budget} key=${budget.name} budget=${budget} currency=${currency} />`)}</ul>`
    }
    <h3>Tokens by day</h3>
    ${
      rows.length
        ? html`<${UsageChart} bars=${barsOf(rows, daysBetween(usage.first_day, usage.last_day))} />
          <details><summary>The same as figures</summary>
            <${Table} rows=${rows} currency=${currency} field="day" title="Day" words=${dayWords} /></details>
          <h3>By model</h3>
          <${Table} rows=${rows} currency=${currency} field="model" title="Model" words=${modelWords} />`
        : html`<p class="empty">Nothing was used in this period.</p>`
    }
  `;
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeZone: 'UTC' });
const dayWords = (day) => DAY.format(new Date(`${day}T00:00:00Z`));

function Figure({ label, rows, currency }) {
  const [sum] = sumsBy(
    rows.map((row) => ({ ...row, all: '' })),
    'all',
  );
  return html`<div class="item">
    <dt>${label}</dt>
    <dd><strong>${sum ? tokensOf(sum).toLocaleString() : 0}</strong> tokens</dd>
    <dd class="hint">${countWords(sum?.turns ?? 0, 'answer')}${currency && `, ${costWords(sum?.cost_micros ?? null, currency)}`}</dd>
  </div>`;
}

function Budget({ budget, currency }) {
  const { name, leftWords, share } = budgetOf(budget, currency);
  const id = `budget-${budget.name}`;
  return html`<li class="item">
    <p id=${id}><strong>${leftWords}</strong> <span class="hint">${name}</span></p>
    <meter min="0" max="1" high="0.8" optimum="0" value=${share} aria-labelledby=${id}></meter>
    <p class="hint">It starts again at ${CLOCK.format(new Date(budget.resets_at))}.</p>
  </li>`;
}

/** Days are sorted by time, models stay in the order of their sums. */
const orderOf = (field) => (a, b) => (field === 'day' ? b.day.localeCompare(a.day) : 0);

/** Sums by `field`: day or model. */
const Table = ({ rows, currency, field, title, words }) => html`
  <div class="usage-table" tabindex="0" role="region" aria-label=${`Usage by ${field}`}><table data-testid=${`usage-by-${field}`}>
    <thead><tr><th scope="col">${title}</th><th scope="col">Answers</th><th scope="col">Tokens in</th><th scope="col">Tokens out</th>
      ${currency && html`<th scope="col">Cost</th>`}</tr></thead>
    <tbody>${sumsBy(rows, field)
      .sort(orderOf(field))
      .map(
        (
          sum,
        ) => html`<tr key=${sum[field]}><th scope="row">${words(sum[field])}</th><td>${sum.turns.toLocaleString()}</td>
      <td>${sum.input_tokens.toLocaleString()}</td><td>${sum.output_tokens.toLocaleString()}</td>
      ${currency && html`<td>${costWords(sum.cost_micros, currency)}</td>`}</tr>`,
      )}</tbody>
  </table></div>`;
