// The edges around MAS as a small picture: who opens what, and whether the gate is as it should be.
// Shape says the same as colour: an arrow works, a bar is a closed gate, a cross is a cut, a question mark is not proven.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 340, ROW = 40, HUB = { x: 145, width: 58 };

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
  } else if (edge.expect === "deny" && state === "ok") {
    group.append(element("path", { class: "bar-mark", d: `M${x} ${y - 8}V${y + 8}` }));
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
  const curve = `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
  if (closed) {
    // It ends at the gate: half of the curve (de Casteljau at ½).
    const gate = [middle, (y1 + y2) / 2];
    group.append(element("path", { class: "line", d: `M${x1} ${y1}C${(x1 + middle) / 2} ${y1} ${(x1 + 3 * middle) / 4} ${(3 * y1 + y2) / 4} ${gate[0]} ${gate[1]}` }));
  } else {
    group.append(element("path", { class: "line", d: curve }), element("path", { class: "head", d: `M${x2 + 1} ${y2}l-8 -4.5v9z` }));
  }
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
    line(group, edge, [0, y + 8], [left - 1, at(index, count)]);
    group.append(element("text", { x: 0, y: y }, shorten(from, 12)));
  });
  side(svg, out, height, (group, { edge, to }, y, index, count) => {
    line(group, edge, [right, at(index, count)], [240, y]);
    const ports = edge.podPorts.join(", ");
    group.append(element("text", { x: 248, y: ports ? y - 1 : y + 4 }, shorten(to, 14)));
    if (ports) group.append(element("text", { class: "port", x: 248, y: y + 12 }, shorten(ports, 14)));
  });
  const port = into.find((row) => row.edge.podPorts.length)?.edge.podPorts[0];
  svg.append(element("rect", { class: "hub", x: left, y: (height - tall) / 2, width: HUB.width, height: tall, rx: 7 }));
  svg.append(element("text", { class: "hub-text", x: HUB.x, y: height / 2 + (port ? -1 : 5), "text-anchor": "middle" }, shorten((hub ?? "?").toUpperCase(), 6)));
  if (port) svg.append(element("text", { class: "hub-text port", x: HUB.x, y: height / 2 + 14, "text-anchor": "middle" }, `:${port}`));
  return svg;
}
