// The page: a stream of sections, each shown when it comes, and nothing moved when nothing is new.

import { Charts, drawEquity } from "/charts.js";
import { Past } from "/past.js";
import { $, Hands, facts, make, tone } from "/shared.js";

const AGAIN_MS = 3000;
const TOLD_MAX = 10;
const NOT_PAST = ["point", "history", "corrected"]; // of a past day the charts come whole
const live = {};
let seen = live; // what is shown: live, or a second of a past day
let past = null;
let about = { may_act: false, word: "" };
let charts = null;
let equity = null;
let hands = null;
let history = null;
let corrections = null;
let isHeard = true;

// --- small words ---

const two = (number) => String(number).padStart(2, "0");

function lasting(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

const clockText = (at) =>
  new Date(at * 1000).toLocaleTimeString("en-GB", { timeZone: "America/New_York", hour12: false });

function set(id, text, name) {
  const node = $(id);
  if (node.textContent !== text) node.textContent = text;
  if (name !== undefined && node.className !== name) node.className = name;
}

function row(cells, name = "") {
  const line = make("tr", "", name);
  line.append(...cells.map((cell) => (cell instanceof Node ? cell : make("td", String(cell ?? "")))));
  return line;
}

function table(id, rows, nothing) {
  const body = $(id).tBodies[0];
  if (!rows.length) {
    const cell = make("td", nothing, "quiet");
    cell.colSpan = 20;
    rows = [row([cell])];
  }
  body.replaceChildren(...rows);
}

function left(id, name, at, until, words) {
  set(id, until && at < until ? lasting(until - at) : until ? "over" : "–");
  if (words) set(name, words);
}

// --- the sections ---

const show = {
  clock(clock) {
    set("now", clockText(clock.at));
    set("day", clock.day);
    left("cutoff", "cutoff-name", clock.at, clock.cutoff_at);
    left("timestop", "stop-name", clock.at, clock.time_stop_at);
    const open = clock.open_at && clock.at >= clock.open_at && clock.at < clock.close_at;
    if (!open && clock.open_at && clock.at < clock.open_at) left("cutoff", "cutoff-name", clock.at, clock.open_at, "opens in");
    else set("cutoff-name", "entries end in");
    set("feed-age", clock.heard_at ? `${clock.at - clock.heard_at} s` : "–", open && clock.at - clock.heard_at > 5 ? "loss" : "");
    set("chain-age", clock.chain_at ? `${clock.at - clock.chain_at} s` : "–", open && clock.at - clock.chain_at > 60 ? "loss" : "");
    hold();
  },

  health(health) {
    const words = [health.status, health.reason, health.detail].filter(Boolean).join(": ");
    set("health", (seen === live ? "" : "then: ") + (health.status === "ok" ? "all is well" : words), `badge ${health.status === "ok" ? "good" : health.status === "amber" ? "fair" : "bad"}`);
  },

  why(why) {
    set("why", why);
  },

  gates(gates) {
    table(
      "gates",
      gates.map((gate) => {
        const name = make("td");
        const words = { yes: "holds", no: "does not hold", off: "switched off" }[gate.light];
        name.append(make("span", { yes: "●", no: "○", off: "–" }[gate.light], "light"), make("span", words, "hidden"), make("span", gate.name));
        if (gate.reason) name.append(make("span", gate.reason, "reason"));
        return row([gate.number, name, gate.value, gate.wanted, gate.margin], gate.light);
      }),
      "nothing yet",
    );
  },

  point(point) {
    if (point && charts) charts.push(point);
  },

  history(start) {
    if (start !== history) load();
    history = start;
  },

  corrected([count, from]) {
    if (corrections !== null && count > corrections) load(from);
    corrections = count;
  },

  position(position) {
    $("position-card").hidden = !position;
    hold();
    if (!position) return;
    set("p-contract", position.contract);
    if (position.settling) return facts($("p-facts"), [["", "is being settled"]]);
    $("blind").hidden = !position.blind;
    set("blind", position.blind);
    facts($("p-facts"), [
      ["entry", position.entry],
      ["mark", position.mark],
      ["change", position.change, tone(position.change)],
      ["bid × ask", position.quote],
      ["peak", position.peak],
      ["if sold now", position.worth, tone(position.worth)],
      ["your fill", position.skipped ? "skipped" : position.real_entry],
      ["sold by you at", position.real_exit],
      [position.real_exit ? "yours" : "yours if sold now", position.real_worth, tone(position.real_worth)],
      ["since", position.opened],
    ]);
    table("exits", position.exits.map((exit) => row([exit.name, exit.level, exit.away || (exit.at ? lasting(exit.at - seen.clock.at) : ""), exit.note])), "");
  },

  contracts(contracts) {
    set("skew", contracts.skew ? `IV skew ${contracts.skew}` : "");
    table(
      "tracked",
      contracts.tracked.map((c) => row([c.contract, c.delta, c.iv + (c.computed ? " (computed)" : ""), c.quote, c.size, c.spread, c.volume, c.interest, c.score])),
      "none",
    );
    set("emptied", contracts.emptied_by ? `Emptied by: ${contracts.emptied_by}` : "");
    table("fallen", contracts.fallen.map((c) => row([c.strike, c.delta, c.quote, c.spread, c.volume, c.interest, c.why])), "none");
  },

  trades(trades) {
    facts($("record"), [
      ["lifetime", trades.balance, tone(trades.balance)],
      ["won, lost", trades.count],
      ["win rate", trades.rate],
      ["deepest fall", trades.drawdown],
      ["yours", trades.real],
    ]);
    equity = drawEquity($("equity"), trades.curve, equity);
    table(
      "trades",
      trades.rows.map((t) => {
        const pnl = make("td", t.pnl, t.sign > 0 ? "gain" : t.sign < 0 ? "loss" : "");
        const own = make("td", t.real, t.real_sign > 0 ? "gain" : t.real_sign < 0 ? "loss" : "");
        if (t.real_prices) own.append(make("span", t.real_prices, "reason"));
        return row([t.opened, t.closed, t.contract, t.entry, t.exit, t.peak, t.reason, pnl, own]);
      }),
      "none yet",
    );
    hold();
  },

  marks(marks) {
    if (charts) charts.mark(marks);
  },

  alerts(alerts) {
    facts($("latency"), [["decision to acceptance", alerts.accepted], ["decision to seen", alerts.acknowledged]]);
    table("alerts", alerts.rows.map((a) => row([a.at, a.title, a.outcome, a.took, a.attempts, a.seen], a.kind.toLowerCase())), "none yet");
  },

  notes(notes) {
    table("notes", notes.map((n) => row([n.at, n.kind.replaceAll("_", " "), n.said])), "none today");
  },

  log(lines) {
    const box = $("log");
    const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 20;
    box.textContent = lines.join("\n");
    if (atEnd) box.scrollTop = box.scrollHeight;
  },
};

function hold() {
  if (hands && seen === live && seen.clock) hands.show(seen.position, seen.clock.stopped, seen.trades?.rows.slice(0, TOLD_MAX));
  if (seen.position && seen.position.exits && seen.clock) {
    const first = $("exits").tBodies[0].rows[0];
    const stop = seen.position.exits[0].at;
    if (first && stop) first.cells[2].textContent = lasting(stop - seen.clock.at);
  }
}

function render(names) {
  for (const name of names) show[name]?.(seen[name]);
}

// --- a past day ---

const ofPast = {
  enter(index) {
    seen = {};
    charts.name(index.symbol, index.leader);
    for (const id of ["mode", "lost"]) $(id).hidden = true;
    document.title = `PAST ${index.day} · ${about.symbol} desk`;
    tellOfLive();
  },

  render(sections, changed) {
    seen = sections;
    render(changed.filter((name) => !NOT_PAST.includes(name)));
  },

  draw(columns, second) {
    charts.load(columns, -Infinity, second);
  },

  live() {
    seen = live;
    $("mode").hidden = false;
    $("past-live").textContent = "";
    $("lost").hidden = isHeard;
    document.title = `${about.symbol} desk`;
    charts.name(about.symbol, about.leader);
    render(Object.keys(live).filter((name) => !NOT_PAST.includes(name)));
    load();
  },
};

// Whoever looks at another day must not miss what happens now.
function tellOfLive() {
  const health = live.health && !["ok", "amber"].includes(live.health.status) ? `${live.health.status}: ${live.health.reason}` : "";
  const held = live.position ? `a position is open, ${live.position.contract}` : "";
  const words = [isHeard ? "" : "the connection is lost", held, health].filter(Boolean).join("; ");
  set("past-live", words ? `Live now: ${words}.` : "");
}

// --- the stream ---

async function load(from) {
  const answer = await fetch(from === undefined ? "/chart" : `/chart/${from}`).catch(() => null);
  if (!answer || !answer.ok) return;
  const columns = await answer.json();
  if (seen === live) charts.load(columns, from);
}

function listen() {
  const stream = new EventSource("/events");
  stream.onopen = () => {
    hear(true);
    corrections = null;
    if (seen === live) load();
  };
  stream.onmessage = (event) => {
    const news = JSON.parse(event.data);
    Object.assign(live, news);
    if (seen === live) render(Object.keys(news));
    else tellOfLive();
  };
  stream.onerror = () => {
    hear(false);
    if (stream.readyState === EventSource.CLOSED) setTimeout(begin, AGAIN_MS);
  };
}

function hear(isThere) {
  isHeard = isThere;
  if (seen === live) $("lost").hidden = isThere;
  else tellOfLive();
}

async function begin() {
  const answer = await fetch("/me").catch(() => null);
  if (answer && answer.status === 401) return location.reload();
  if (!answer || !answer.ok) {
    hear(false);
    return setTimeout(begin, AGAIN_MS);
  }
  about = await answer.json();
  set("symbol", about.symbol);
  set("chart-symbol", about.symbol);
  set("mode", about.mode, `badge ${about.mode === "live" ? "good" : "fair"}`);
  set("version", about.version);
  if (seen === live) document.title = `${about.symbol} desk`;
  charts ??= new Charts(about.symbol, about.leader);
  past ??= new Past(ofPast);
  if (about.may_act) hands ??= new Hands($("hands"), $("said"), () => ({ "X-Desk": about.word }));
  else set("hands-note", "Read only: set DASHBOARD_TOKEN to act from here.");
  listen();
}

// --- the looks ---

function dress(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  if (charts) {
    charts.draw();
    charts.mark(seen.marks ?? []);
  }
  if (seen.trades) show.trades(seen.trades);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
$("theme").addEventListener("click", () => dress(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
for (const button of document.querySelectorAll("[data-minutes]")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[data-minutes]")) other.setAttribute("aria-pressed", String(other === button));
    charts?.show(Number(button.dataset.minutes));
  });
}
begin();
