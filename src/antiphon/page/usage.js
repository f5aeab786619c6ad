// Figures of usage: days, sums and words. Pure.

/** The days from `first` to `last` (as 2026-11-30), both included. */
export function daysBetween(first, last) {
  const days = [];
  for (let at = Date.parse(`${first}T00:00:00Z`); at <= Date.parse(`${last}T00:00:00Z`); at += 86_400_000) {
    days.push(new Date(at).toISOString().slice(0, 10));
  }
  return days;
}

export const tokensOf = (row) => row.input_tokens + row.output_tokens;

/** The bars of a chart: {day, parts: [{model, tokens}], tokens} for each day; `models` in the order of their sums. */
export function barsOf(rows, days) {
  const models = sumsBy(rows, 'model').map(({ model }) => model);
  return days.map((day) => {
    const ofDay = rows.filter((row) => row.day === day);
    const parts = models
      .map((model) => ({
        model,
        tokens: ofDay.filter((row) => row.model === model).reduce((sum, row) => sum + tokensOf(row), 0),
      }))
      .filter(({ tokens }) => tokens > 0);
    return { day, parts, tokens: parts.reduce((sum, part) => sum + part.tokens, 0) };
  });
}

const ADDED = ['calls', 'turns', 'input_tokens', 'output_tokens'];

/** Sums of the rows with the same `field`, the largest first. `cost_micros` is null if nothing has a price. */
export function sumsBy(rows, field) {
  const sums = new Map();
  for (const row of rows) {
    const sum = sums.get(row[field]) ?? {
      [field]: row[field],
      ...Object.fromEntries(ADDED.map((name) => [name, 0])),
      cost_micros: null,
    };
    for (const name of ADDED) sum[name] += row[name];
    if (row.cost_micros !== null) sum.cost_micros = (sum.cost_micros ?? 0) + row.cost_micros;
    sums.set(row[field], sum);
  }
  return [...sums.values()].sort((a, b) => tokensOf(b) - tokensOf(a));
}

/** A cost as text; '–' where nothing has a price. */
export function costWords(cost_micros, currency) {
  if (cost_micros === null || cost_micros === undefined) return '–';
  const amount = cost_micros / 1e6;
  const digits = amount !== 0 && amount < 0.1 ? 4 : 2;
  try {
    return new Intl.NumberFormat(undefined, {
      style: 'currency',
      currency,
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    }).format(amount);
  } catch {
    return `${amount.toFixed(digits)} ${currency ?? ''}`.trim();
  }
}

/** What is left of a budget: {name, leftWords, share}; `share` of it that is used, 0 to 1. */
export function budgetOf({ name, limit, used }, currency) {
  const left = Math.max(0, limit - used);
  const isCost = /cost/.test(name);
  const words = (value) => (isCost ? costWords(value, currency) : value.toLocaleString());
  const unit = isCost ? '' : ' tokens';
  return {
    name: name.replaceAll('_', ' '),
    leftWords: left
      ? `${words(left)} of ${words(limit)}${unit} left`
      : `The ${words(limit)}${unit} of this day are used up.`,
    share: limit ? Math.min(1, used / limit) : 1,
  };
}
