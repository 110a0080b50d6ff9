// Line charts in SVG, drawn by hand: a window of time that moves, a scale that fits.

const HEIGHT = 132, TOP = 16, BOTTOM = 20;
const SVG = "http://www.w3.org/2000/svg";

/** How much of the past is shown, in seconds. */
export const WINDOW = 120;

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The smallest round number that is not below the value. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * unit >= value * 0.999);
}

/**
 * Draws lines into an <svg>. `lines`: [{ kind, points: [[seconds since any start, value or null]] }]; a null
 * interrupts the line. `least` keeps the scale from blowing up nothing; `format` writes its top.
 */
export function draw(svg, lines, { now, least, format, label, area }) {
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value ?? 0));
  const top = ceiling(Math.max(least, ...values));
  const width = svg.clientWidth || 360;
  const x = (time) => (width * (time - now + WINDOW)) / WINDOW;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const parts = [0, 0.5, 1].map((part) =>
    element("line", { class: "rule", x1: 0, x2: width, y1: y(top * part), y2: y(top * part) }));
  parts.push(element("text", { x: 0, y: y(top) - 4 }, format(top)));
  parts.push(element("text", { x: 0, y: HEIGHT - 5 }, "2 min ago"));
  parts.push(element("text", { x: width, y: HEIGHT - 5, "text-anchor": "end" }, "now"));
  for (const { kind, points } of lines) {
    for (const run of runs(points.filter(([time]) => time >= now - WINDOW))) {
      const path = run.map(([time, value]) => `${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
      const close = `L${x(run.at(-1)[0]).toFixed(1)} ${y(0)}L${x(run[0][0]).toFixed(1)} ${y(0)}Z`;
      if (area) parts.push(element("path", { class: `area ${kind}`, d: `M${path}${close}` }));
      parts.push(element("path", { class: `series ${kind}`, d: `M${path}${run.length === 1 ? "h0" : ""}` }));
    }
  }
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("aria-label", label);
  svg.replaceChildren(...parts);
}

function runs(points) {
  const found = [];
  let open = null;
  for (const point of points) {
    if (point[1] === null) open = null;
    else if (open) open.push(point);
    else found.push((open = [point]));
  }
  return found;
}
