// The edges around MAS as a small picture: who opens what, and whether the gate is as it should be.
// Shape says the same as colour: an arrow works, a bar is a closed gate, a cross is a cut, a question mark is not proven.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 340, ROW = 36, HUB = { x: 168, width: 58 }, LEFT = 76, RIGHT = 254;

function element(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Both ends of an edge by its name (`mas-to-postgres`), else as the board has them. */
function ends(edge) {
  const [from, to] = edge.name.split(/-to-(.*)/s);
  return to ? { edge, from, to } : { edge, from: edge.from, to: edge.to };
}

/** The end that most edges share. */
function hubOf(all) {
  const count = new Map();
  for (const { from, to } of all) for (const end of new Set([from, to])) count.set(end, (count.get(end) ?? 0) + 1);
  return [...count].sort((a, b) => b[1] - a[1])[0]?.[0];
}

const shorten = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);

/** What the middle of the line shows. */
function mark(group, edge, x, y) {
  const state = edge.state ?? "unknown";
  if (state === "unknown") {
    group.append(element("circle", { class: "disc", cx: x, cy: y, r: 9 }), element("text", { class: "ask", x, y: y + 4.5 }, "?"));
  } else if (edge.expect === "allow" && state === "violated") {
    group.append(
      element("circle", { class: "disc", cx: x, cy: y, r: 9 }),
      element("path", { class: "cross", d: `M${x - 5} ${y - 5}l10 10m0 -10l-10 10` }),
    );
  }
}

function line(group, edge, [x1, y1], [x2, y2]) {
  const middle = (x1 + x2) / 2;
  const closed = edge.expect === "deny" && edge.state === "ok";
  const end = closed ? x2 - 9 : x2 - 4;
  group.append(element("path", { class: "line", d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${end} ${y2}` }));
  const tip = closed ? { class: "bar-mark", d: `M${x2 - 8} ${y2 - 7}v14` } : { class: "head", d: `M${x2 + 1} ${y2}l-8 -4.5v9z` };
  group.append(element("path", tip));
  mark(group, edge, middle, (y1 + y2) / 2);
}

function side(svg, rows, height, draw) {
  const step = height / Math.max(rows.length, 1);
  rows.forEach((row, index) => {
    const state = row.edge.state ?? "unknown";
    const group = element("g", { class: state });
    group.append(element("title", {}, `${row.edge.name}: ${state}`));
    draw(group, row, step * (index + 0.5), index, rows.length);
    svg.append(group);
  });
}

/** A new drawing of `edges`. */
export function drawing(edges) {
  const all = edges.map(ends);
  const hub = hubOf(all);
  const into = all.filter((row) => row.to === hub && row.from !== hub);
  const out = all.filter((row) => row.from === hub && row.to !== hub);
  const height = Math.max(into.length, out.length, 2) * ROW;
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" });
  svg.append(element("title", {}, `The edges around ${hub ?? "nothing"}`));
  const left = HUB.x - HUB.width / 2, right = HUB.x + HUB.width / 2;
  // Lines meet the hub's side spread out, so that neighbours can be told apart.
  const tall = Math.min(height - 8, Math.max(into.length, out.length) * 22 + 12);
  const at = (index, count) => height / 2 + (index - (count - 1) / 2) * Math.min(22, (tall - 12) / Math.max(count, 1));
  side(svg, into, height, (group, { edge, from }, y, index, count) => {
    line(group, edge, [LEFT, y], [left - 1, at(index, count)]);
    group.append(element("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, shorten(from, 11)));
  });
  side(svg, out, height, (group, { edge, to }, y, index, count) => {
    line(group, edge, [right, at(index, count)], [RIGHT, y]);
    const ports = edge.podPorts.join(", ");
    group.append(element("text", { x: RIGHT + 7, y: ports ? y - 1 : y + 4 }, shorten(to, 11)));
    if (ports) group.append(element("text", { class: "port", x: RIGHT + 7, y: y + 12 }, shorten(ports, 11)));
  });
  const port = into.find((row) => row.edge.podPorts.length)?.edge.podPorts[0];
  svg.append(element("rect", { class: "hub", x: left, y: (height - tall) / 2, width: HUB.width, height: tall, rx: 7 }));
  svg.append(element("text", { class: "hub-text", x: HUB.x, y: height / 2 + (port ? -1 : 5), "text-anchor": "middle" }, shorten((hub ?? "?").toUpperCase(), 6)));
  if (port) svg.append(element("text", { class: "hub-text port", x: HUB.x, y: height / 2 + 14, "text-anchor": "middle" }, `:${port}`));
  return svg;
}
