// The console: asks this port for /status, /metrics and /channels, and shows what they say.
//
// Every text that comes from outside is set as textContent, never as markup. Nothing is asked while
// nobody looks; when no answer comes, the page says so and greys out what it still shows.

import { draw, WINDOW } from "./chart.js";
import { by, parse, quantile, sum } from "./metrics.js";
import { startTrying } from "./try.js";

const POLL = 1000, PATIENCE = 2500, STALE = 3500;
/** Delivery times are those of the last so many polls: with one alone the figures would dance. */
const LATENCY_POLLS = 5;

const at = (id) => document.getElementById(id);
const history = { scrapes: [], messages: [], deliveries: [], p50: [], p99: [] };
let answered = null, uptime = 0, listed = 0;

function say(id, text, state) {
  at(id).textContent = text;
  if (state) at(id).dataset.state = state;
}

const count = (value) => Math.round(value).toLocaleString("en-US");

function rate(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  return value < 10 ? String(Math.round(value * 10) / 10) : count(value);
}

function time(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Number((seconds * 1e3).toPrecision(3))} ms`;
  return `${seconds.toFixed(1)} s`;
}

function long(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  const shown = parts.slice(first < 0 ? 3 : first).slice(0, 2);
  let rest = seconds;
  return shown.map(([size, unit]) => {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    return `${whole} ${unit}`;
  }).join(" ");
}

/** Rows of texts; a cell is a text or [text, class, share of a bar]. */
function table(id, rows, empty) {
  const cell = (content) => {
    const [text, kind = "", share] = Array.isArray(content) ? content : [content];
    const made = document.createElement("td");
    made.className = kind;
    made.textContent = text;
    if (share !== undefined) {
      const bar = made.appendChild(document.createElement("span"));
      bar.className = "bar";
      bar.appendChild(document.createElement("i")).style.width = `${100 * share}%`;
    }
    return made;
  };
  const shown = rows.length ? rows : [[[empty, "none"]]];
  at(id).replaceChildren(...shown.map((cells) => {
    const row = document.createElement("tr");
    row.replaceChildren(...cells.map(cell));
    if (cells.length === 1) row.firstChild.colSpan = 3;
    return row;
  }));
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

function showStatus(status) {
  const running = status.phase === "running";
  say("phase", running && !status.ready ? "running, not ready" : status.phase, running ? (status.ready ? "good" : "wait") : "bad");
  say("version", `version ${status.version}`);
  say("uptime", `up ${long(status.uptime_seconds)}`);
  say("ready", status.ready ? "Yes" : "No", status.ready ? "good" : "bad");
  say("reasons", status.ready ? "new clients may be sent here" : status.reasons.map((one) => one.detail).join("; "));
  const { link, reason, seconds_since_proof: age } = status.redis;
  say("link", link === "up" ? "Up" : "Down", link === "up" ? "good" : "bad");
  const proof = age === null ? "never proven alive" : `last proof of life ${age < 60 ? `${age.toFixed(1)} s` : long(age)} ago`;
  say("proof", reason ? `${proof}: ${reason}` : proof);
  say("sessions", count(Object.values(status.sessions).reduce((a, b) => a + b, 0)));
}

/** Channels, and streams where there are any. */
function showTopics(status, scrape) {
  const { wanted, subscribed } = status.channels;
  const streams = by(scrape, "sockway_streams", "state");
  const followed = streams.get("subscribed") ?? 0, all = wanted + (streams.get("wanted") ?? 0);
  const missing = all - subscribed - followed;
  say("channels-title", all > wanted ? "Channels and streams" : "Channels");
  say("channels", all > wanted ? `${count(wanted)} · ${count(all - wanted)}` : count(wanted));
  say("unconfirmed", missing > 0 ? `${count(missing)} not confirmed by Redis` : all ? "all confirmed by Redis" : "no session wants any");
  at("channels").dataset.state = missing > 0 ? "wait" : "";
  return all;
}

function showRates(status, scrape, now) {
  const { scrapes, messages, deliveries, p50, p99 } = history;
  const last = scrapes.at(-1);
  scrapes.push({ now, scrape });
  if (!last) return;
  const since = (name, before = last) => (sum(scrape, name) - sum(before.scrape, name)) / (now - before.now);
  const first = scrapes.at(-1 - LATENCY_POLLS) ?? scrapes[0];
  const latency = (q) => quantile(first.scrape, scrape, "sockway_delivery_seconds", q);
  messages.push([now, since("sockway_redis_messages_total")]);
  deliveries.push([now, since("sockway_deliveries_total")]);
  p50.push([now, latency(0.5)]);
  p99.push([now, latency(0.99)]);
  for (const points of Object.values(history)) {
    while ((points[0].now ?? points[0][0]) < now - WINDOW - 5) points.shift();
  }
  showCharts(now);
  showEndpoints(status, scrape, last, now);
}

function showCharts(now) {
  const { messages, deliveries, p50, p99 } = history;
  for (const [name, points] of [["messages", messages], ["deliveries", deliveries]]) {
    const text = rate(points.at(-1)[1]);
    say(`${name}-now`, text);
    draw(at(`${name}-chart`), [{ kind: name, points }], { now, least: 5, format: rate, area: true, label: `${name}: ${text} a second now` });
  }
  const [half, most] = [p50.at(-1)[1], p99.at(-1)[1]];
  const text = half === null ? "–" : `${time(half)} · ${time(most)}`;
  say("latency-now", text);
  draw(at("latency-chart"), [{ kind: "p50", points: p50 }, { kind: "p99", points: p99 }],
    { now, least: 0.0005, format: time, label: half === null ? "nothing delivered now" : `delivery time now: p50 ${time(half)}, p99 ${time(most)}` });
}

function showEndpoints(status, scrape, last, now) {
  const delivered = by(scrape, "sockway_deliveries_total", "endpoint");
  const before = by(last.scrape, "sockway_deliveries_total", "endpoint");
  const open = Object.entries(status.sessions);
  const most = Math.max(1, ...open.map(([, sessions]) => sessions));
  table("endpoints", open.map(([name, sessions]) => {
    const each = ((delivered.get(name) ?? 0) - (before.get(name) ?? 0)) / (now - last.now);
    return [[name, "name", sessions / most], count(sessions), rate(each)];
  }), "no endpoint");
}

function showCounts(scrape) {
  const earlier = history.scrapes[0].scrape;
  for (const [id, name, empty, label = "reason"] of [
    ["gaps", "sockway_gaps_total", "no gap since the start"],
    ["replays", "sockway_replays_total", "no client has come back with a position", "result"],
    ["closed", "sockway_sessions_closed_total", "no session has ended yet"],
    ["refused", "sockway_handshakes_refused_total", "no handshake was refused"],
  ]) {
    const old = by(earlier, name, label);
    const rows = [...by(scrape, name, label)].filter(([, total]) => total > 0).sort((a, b) => b[1] - a[1]);
    table(id, rows.map(([reason, total]) => {
      const fresh = total - (old.get(reason) ?? 0);
      return [[reason, "name"], [fresh > 0 ? `+${count(fresh)} in 2 min` : "", "fresh"], count(total)];
    }), empty);
  }
  say("opened", `${count(sum(scrape, "sockway_sessions_opened_total"))} opened since the start`);
}

/** Asks for the channels and streams: seldom when there are many, since every shard looks through its own. */
async function showChannels(wanted, now) {
  const due = listed + Math.min(60, 3 + wanted / 5000);
  if (now < due) return;
  listed = now;
  const prefix = at("prefix").value;
  const { channels, shards, shards_answered: said } = await (await ask(`/channels?limit=10&prefix=${encodeURIComponent(prefix)}`)).json();
  if (prefix !== at("prefix").value) return;
  const most = channels[0]?.sessions ?? 1;
  table("busiest", channels.map(({ channel, sessions }) => [[channel, "name", sessions / most], count(sessions)]),
    prefix ? "no session is on a channel or stream that begins so" : "no session is on any channel or stream");
  say("busiest-note", said < shards ? `${shards - said} of ${shards} shards were too busy to answer` : "");
}

/** Says when there was an answer last; also called while none comes. */
function showAge() {
  const age = answered === null ? Infinity : performance.now() - answered;
  const stale = age > STALE;
  document.body.classList.toggle("stale", stale && answered !== null);
  at("stale").hidden = !stale || (answered === null && performance.now() < STALE);
  if (!stale) return;
  say("phase", answered === null ? "connecting" : "unreachable", answered === null ? "wait" : "bad");
  say("age", answered === null ? "" : `What you see is ${long(age / 1000)} old.`);
}

async function poll() {
  const [status, text] = await Promise.all([
    ask("/status").then((answer) => answer.json()),
    ask("/metrics").then((answer) => answer.text()),
  ]);
  const now = performance.now() / 1000, scrape = parse(text);
  if (status.uptime_seconds < uptime) Object.values(history).forEach((points) => points.splice(0)); // It is another process.
  uptime = status.uptime_seconds;
  answered = performance.now();
  showStatus(status);
  showRates(status, scrape, now);
  showCounts(scrape);
  await showChannels(showTopics(status, scrape), now);
}

async function live() {
  for (;;) {
    if (!document.hidden) await poll().catch(() => {}); // showAge tells.
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

at("prefix").addEventListener("input", () => { listed = 0; });
// The time away is no loss of the gateway's: it counts from the moment that somebody looks again.
document.addEventListener("visibilitychange", () => { if (answered !== null) answered = performance.now(); });
setInterval(() => { if (!document.hidden) showAge(); }, 500);
live();
if (document.body.dataset.try !== undefined) startTrying(ask);
