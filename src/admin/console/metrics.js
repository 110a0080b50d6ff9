// Numbers out of Prometheus's text format: sums, parts by label, and quantiles of a histogram.
// A number that is not there counts as 0: every series exists from the start.

/** One scrape: the samples of each series by its name. */
export function parse(text) {
  const series = new Map();
  for (const line of text.split("\n")) {
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const [, name, labels = "", value] = match;
    if (!series.has(name)) series.set(name, []);
    series.get(name).push({ labels: pairs(labels), value: Number(value) });
  }
  return series;
}

function pairs(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)) {
    labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
  }
  return labels;
}

/** The sum of all samples of a series. */
export function sum(scrape, name) {
  return (scrape.get(name) ?? []).reduce((total, { value }) => total + value, 0);
}

/** The sums of a series by the value of one label. */
export function by(scrape, name, label) {
  const sums = new Map();
  for (const { labels, value } of scrape.get(name) ?? []) {
    sums.set(labels[label], (sums.get(labels[label]) ?? 0) + value);
  }
  return sums;
}

/** The q-quantile in seconds of what a histogram saw between two scrapes; null when it saw nothing. */
export function quantile(before, now, name, q) {
  const old = by(before, `${name}_bucket`, "le");
  const buckets = [...by(now, `${name}_bucket`, "le")]
    .map(([le, count]) => [le === "+Inf" ? Infinity : Number(le), count - (old.get(le) ?? 0)])
    .sort((a, b) => a[0] - b[0]);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (!(total > 0)) return null;
  let lower = 0, below = 0;
  for (const [upper, count] of buckets) {
    if (count >= q * total) {
      // Nobody knows how far beyond the last bound: the bound is what can be said.
      return upper === Infinity ? lower : lower + (upper - lower) * ((q * total - below) / (count - below));
    }
    [lower, below] = [upper, count];
  }
  return lower;
}
