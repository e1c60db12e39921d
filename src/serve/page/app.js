// Asks for the board each second and shows it. Every text goes in as text, never as markup.

import { drawing } from "/drawing.js";

const POLL = 1000, POLL_HIDDEN = 10000, SLOWEST = 15000, PATIENCE = 4000;
const WORST_FIRST = ["violated", "unknown", "pending", "ok"];
const STATE_WORDS = { ok: "OK", violated: "Violated", unknown: "Unknown", pending: "Pending" };

const byId = (id) => document.getElementById(id);
/** An element with a class and children; strings become text. */
function el(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}
/** Text that is set only when it changed, so that a reader's selection survives. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function mark(node, className) {
  if (node.className !== className) node.className = className;
}
const stateOf = (edge) => edge.state ?? "unknown";

// The three facts: word, and whether it agrees with what is intended.

function declaredOf({ declared, expect }) {
  if (!declared) return ["not asked", "unknown"];
  if (declared === "unknown") return ["unknown", "unknown"];
  return [declared, (declared === "allowed") === (expect === "allow") ? "agrees" : "differs"];
}
function observedOf({ observed, expect }) {
  if (!observed) return ["not probed", "unknown"];
  if (observed === "unknown" || (observed === "down" && expect === "deny")) return [observed, "unknown"];
  return [observed, (observed === "reachable") === (expect === "allow") ? "agrees" : "differs"];
}

function span(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(1)} s`;
}
/** The slowest of the newest attempts of an edge, as text for the cell and for its title. */
function latency(attempts) {
  const total = ({ phases }) => Object.values(phases).reduce((sum, part) => sum + part, 0);
  const slowest = attempts.filter((one) => Object.keys(one.phases).length).sort((a, b) => total(b) - total(a))[0];
  if (!slowest) return ["–", "no probe got so far"];
  return [span(total(slowest)), Object.entries(slowest.phases).map(([name, part]) => `${name} ${span(part)}`).join(", ")];
}

// Rows. Each edge owns a <tbody>: the facts, the fault when there is one, and more on demand.

const rows = new Map();
const open = new Set();

function makeRow(name) {
  const part = {
    body: el("tbody"), toggle: el("button", "name", name), path: el("span", "path"), port: el("span"), service: el("span", "path"),
    intended: el("span", "fact plain"), declared: el("span"), observed: el("span"), reason: el("span", "reason"),
    state: el("span"), latency: el("td", "number"), fault: el("tr", "fault"), faultCell: el("td"), more: el("tr", "more"), moreCell: el("td"),
  };
  const cell = (label, ...children) => {
    const td = el("td", "", ...children);
    td.dataset.label = label;
    return td;
  };
  part.toggle.type = "button";
  part.toggle.addEventListener("click", () => {
    open.has(name) ? open.delete(name) : open.add(name);
    showMore(part, name);
  });
  const head = el("th", "", part.toggle, part.path);
  head.scope = "row";
  part.latency.dataset.label = "Latency";
  const facts = el("tr", "facts", head, cell("Pod port", part.port, part.service), cell("Intended", part.intended), cell("Declared", part.declared), cell("Observed", part.observed, part.reason), cell("State", part.state), part.latency);
  part.faultCell.colSpan = part.moreCell.colSpan = 7;
  part.fault.append(part.faultCell);
  part.more.append(part.moreCell);
  part.body.append(facts, part.fault, part.more);
  showMore(part, name);
  return part;
}
function showMore(part, name) {
  part.more.hidden = !open.has(name);
  part.toggle.setAttribute("aria-expanded", String(open.has(name)));
}

function fillRow(part, edge, attempts) {
  const state = stateOf(edge);
  say(part.path, `${edge.from} → ${edge.to}`);
  part.path.title = part.path.textContent;
  say(part.port, `${edge.podPorts.join(", ") || "?"} ${edge.protocol}`);
  say(part.service, edge.servicePort && !edge.podPorts.includes(edge.servicePort) ? `Service ${edge.servicePort}` : "");
  say(part.intended, edge.expect === "allow" ? "must work" : "must not work");
  for (const [node, [word, judgement]] of [[part.declared, declaredOf(edge)], [part.observed, observedOf(edge)]]) {
    say(node, word);
    mark(node, `fact ${judgement}`);
  }
  // On a gate that is shut as intended the reason would only distract; it stands among the probes below.
  const reason = edge.reason && edge.reason !== "ok" && observedOf(edge)[1] !== "agrees" ? edge.reason : "";
  renew(part.reason, reason, () => reason.split(/(?<=_)/).flatMap((word) => [word, el("wbr")]));
  say(part.state, STATE_WORDS[state] ?? state);
  mark(part.state, `state ${state}`);
  mark(part.body, state === "violated" ? "is-violated" : "");
  // How fast a gate refuses is no latency; the number would only look like one.
  const [shown, title] = edge.observed === "reachable" ? latency(attempts) : ["–", "only what works has a latency"];
  say(part.latency, shown);
  part.latency.title = title;
  // Rebuilt only when something in it changed.
  renew(part.faultCell, [edge.finding, edge.breaks, state, edge.needs], () => fault(edge, state));
  part.fault.hidden = !part.faultCell.firstChild;
  renew(part.moreCell, [edge, attempts.map((one) => [one.address, one.detail])], () => [more(edge, attempts)]);
}

const shownIn = new WeakMap();
function renew(node, facts, make) {
  const key = JSON.stringify(facts);
  if (shownIn.get(node) === key) return false;
  shownIn.set(node, key);
  node.replaceChildren(...make());
  return true;
}

/** Who is at fault, where that stands, what breaks, and the smallest fix. */
function fault(edge, state) {
  const { finding, needs, breaks } = edge;
  if (!finding) return state === "unknown" && needs ? [el("p", "unknown", needs)] : [];
  const who = el("p", "who", finding.message);
  const parts = [who, el("p", "where", where(finding))];
  if (state === "violated" && breaks && edge.expect === "allow") who.append(" ", el("span", "breaks violated", sentence(breaks)));
  if (finding.fix) parts.push(fix(finding.fix));
  return parts;
}
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");
const where = ({ code, name, object, place }) => [place, object, `${code} ${name}`].filter(Boolean).join("  ·  ");
function fix(text) {
  return el("div", text.includes("\n") ? "fix is-code" : "fix", el("span", "", "Fix"), el("p", "", text));
}

function more(edge, attempts) {
  const list = el("dl");
  const row = (term, text) => text && list.append(el("dt", "", term), el("dd", "", text));
  row("Policies", edge.because);
  row("Missing", edge.needs);
  row("Without it", edge.breaks && `${edge.breaks} (tier ${edge.tier})`);
  row("Asked for by", edge.provenance.join("\n"));
  row("Probes", attempts.map((one) => [one.address, one.reason, one.detail].filter(Boolean).join("  ")).join("\n"));
  row("Certificate", attempts.filter((one) => one.tlsNotAfter).map((one) => `until ${new Date(one.tlsNotAfter * 1000).toISOString().slice(0, 10)}`)[0]);
  return list;
}

function showEdges({ edges, probes, findings }) {
  const table = byId("edges");
  const worstFirst = byId("order").getAttribute("aria-pressed") === "true";
  // Within a state as the headline does it: findings stand with root causes in front.
  const cause = (edge) => findings.findIndex((finding) => finding.edge === edge.name) >>> 0;
  const rank = (edge) => WORST_FIRST.indexOf(stateOf(edge));
  const order = worstFirst ? [...edges].sort((a, b) => rank(a) - rank(b) || cause(a) - cause(b) || a.tier - b.tier) : edges;
  const attempts = new Map();
  for (const one of probes) attempts.set(one.edge, [...(attempts.get(one.edge) ?? []), one]);
  for (const name of rows.keys()) {
    if (!edges.some((edge) => edge.name === name)) {
      rows.get(name).body.remove();
      rows.delete(name);
    }
  }
  let before = table.tHead;
  for (const edge of order) {
    if (!rows.has(edge.name)) rows.set(edge.name, makeRow(edge.name));
    const part = rows.get(edge.name);
    fillRow(part, edge, attempts.get(edge.name) ?? []);
    // Moving a node takes the focus from it, so it moves only when it must.
    if (before.nextElementSibling !== part.body) before.after(part.body);
    before = part.body;
  }
}

// Around the table.

function showHeadline({ headline, edges, matrix }) {
  mark(byId("headline"), `headline ${headline.state}`);
  say(byId("headline-text"), headline.text);
  say(byId("headline-more"), headline.more);
  say(byId("matrix"), matrix);
  document.title = `${STATE_WORDS[headline.state]}: ${matrix} – portreeve`;
  const counts = WORST_FIRST.map((state) => [state, edges.filter((edge) => stateOf(edge) === state).length]);
  renew(byId("counts"), counts, () =>
    counts.filter(([, count]) => count).map(([state, count]) => el("span", state, el("b", "", String(count)), ` ${STATE_WORDS[state].toLowerCase()}`)));
}

function showLists({ findings, edges, notes, changes, version }) {
  const inTable = new Set(edges.filter((edge) => edge.finding).map((edge) => JSON.stringify(edge.finding)));
  const also = findings.filter((finding) => !inTable.has(JSON.stringify(finding)));
  byId("findings-section").hidden = !also.length;
  renew(byId("findings"), also, () => also.map((finding) => {
    const head = el("p", "head", el("b", "", finding.severity), `  ·  ${where(finding)}`);
    return el("li", finding.severity, el("p", "", finding.message), head, ...(finding.fix ? [fix(finding.fix)] : []));
  }));
  byId("notes-section").hidden = !notes.length;
  renew(byId("notes"), notes, () => notes.map((note) => el("li", "", note)));
  byId("changes-section").hidden = !changes.length;
  renew(byId("changes"), changes, () => changes.slice(0, 12).map(({ at, what }) => {
    const time = el("time", "", at.slice(11, 19) || at);
    time.dateTime = time.title = at;
    return el("li", "", time, el("span", "", what));
  }));
  say(byId("version"), `portreeve ${version}`);
}

// The demo's controls.

const HOW_WORDS = { peer: "peer stopped", policy: "rule taken out", open: "opened" };
let lastEdges = [];

function showControls({ controls, edges }) {
  byId("controls").hidden = !controls;
  if (!controls) return;
  lastEdges = edges;
  const select = byId("edge"), chosen = select.value;
  if (renew(select, edges.map((edge) => edge.name), () => edges.map((edge) => new Option(edge.name))) && chosen) select.value = chosen;
  byId("repair").checked = controls.repair;
  renew(byId("broken"), controls.broken, () => controls.broken.map(([edge, how]) => {
    const mend = el("button", "", "Mend");
    mend.type = "button";
    mend.setAttribute("aria-label", `Mend ${edge}`);
    mend.addEventListener("click", () => act({ action: "mend", edge }));
    return el("li", "", el("span", "", `${edge}: ${HOW_WORDS[how] ?? how}`), mend);
  }));
  enable();
}
function enable() {
  const edge = lastEdges.find((one) => one.name === byId("edge").value);
  for (const button of document.querySelectorAll("[data-how]")) {
    button.disabled = !edge || (button.dataset.how === "open") !== (edge.expect === "deny");
  }
}
async function act(action) {
  const answer = byId("answer");
  say(answer, "…");
  try {
    const response = await fetch("/api/v1/actions", {
      method: "POST", headers: { "content-type": "application/json", "x-portreeve": "1" }, body: JSON.stringify(action),
    });
    const { done, error } = await response.json();
    say(answer, done ?? error);
  } catch {
    say(answer, "No answer: it is not known whether that was done.");
  }
  poll();
}

// Polling, slower while nobody answers or nobody looks.

let timer, wait = POLL, lastAnswer, board, asking = false;

async function poll() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    const response = await fetch("/api/v1/board", { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    board = await response.json();
    lastAnswer = new Date();
    wait = POLL;
    show();
    live("live", "live on");
  } catch {
    wait = Math.min(wait * 2, SLOWEST);
    const since = lastAnswer ? ` since ${lastAnswer.toLocaleTimeString()}: what stands here is old` : "";
    live(`no answer${since}; asking again in ${wait / 1000} s`, "live lost");
  }
  asking = false;
  document.body.classList.toggle("stale", wait !== POLL);
  timer = setTimeout(poll, document.hidden ? Math.max(wait, POLL_HIDDEN) : wait);
}
function live(text, className) {
  say(byId("live"), text);
  mark(byId("live"), className);
}
function show() {
  showHeadline(board);
  showEdges(board);
  showLists(board);
  showControls(board);
  renew(byId("drawing"), board.edges.map((edge) => [edge.name, edge.state, edge.expect, edge.podPorts]), () => [drawing(board.edges)]);
}

byId("order").addEventListener("click", ({ currentTarget }) => {
  currentTarget.setAttribute("aria-pressed", String(currentTarget.getAttribute("aria-pressed") !== "true"));
  if (board) showEdges(board);
});
byId("edge").addEventListener("change", enable);
byId("repair").addEventListener("change", ({ target }) => act({ action: "repair", on: target.checked }));
for (const button of document.querySelectorAll("[data-how]")) {
  button.addEventListener("click", () => act({ action: "break", edge: byId("edge").value, how: button.dataset.how }));
}
document.addEventListener("visibilitychange", () => document.hidden || poll());
poll();
