// The page: a stream of sections, each shown when it comes, and nothing moved when nothing is new.

import * as cards from "/cards.js";
import { Equity } from "/equity.js";
import { Hands } from "/manual.js";
import { OptionChart } from "/option.js";
import { Past, askForDay } from "/past.js";
import { SessionChart } from "/session.js";
import { $, set } from "/shared.js";
import { Signals } from "/signals.js";

const AGAIN_MS = 3000;
const TOLD_MAX = 10;
const NOT_PAST = ["point", "history", "corrected", "option"]; // of a past day the charts come whole
const live = {};
let seen = live; // what is shown: live, or a second of a past day
let about = { may_act: false, word: "", symbol: "" };
let past = null;
let session = null;
let hands = null;
let history = null;
let corrections = null;
let isHeard = true;
const equity = new Equity($("equity"));
const signals = new Signals($("signals"));

// --- the option's chart: of the held one, of the one held last, or of the trade that was chosen ---

const option = {
  chart: null,
  id: "", // of which trade it is
  chosen: false,
  asked: 0,

  open(trade, columns, marks, until) {
    $("option-card").hidden = false;
    this.chart ??= new OptionChart($("option"), $("option-live"));
    $("option").hidden = !columns;
    if (columns) this.chart.show({ id: trade.id, entry: dollarsOf(trade.entry) }, columns, marks, until);
    set("option-title", trade.name);
    $("option-title").title = trade.contract;
    const way = trade.exit ? `${trade.entry} → ${trade.exit} · ${trade.pnl} · ${trade.reason}` : `entry ${trade.entry}`;
    set("option-words", way);
  },

  close() {
    [this.id, this.chosen] = ["", false];
    this.asked += 1;
    $("option-card").hidden = true;
  },

  // The position that is open, and after its exit the whole trade, as long as nobody looks at another.
  async follow(id) {
    if (this.chosen || !id || id === this.id) return;
    this.id = id;
    await this.fetch(id, () => (seen.position?.id === id ? seen.position : tradeOf(id)));
  },

  async choose(trade) {
    [this.id, this.chosen] = [trade.id, true];
    $("option-card").scrollIntoView({ block: "nearest" });
    await this.fetch(trade.id, () => trade);
    $("option-card").scrollIntoView({ block: "nearest" });
  },

  async fetch(id, trade) {
    const asked = ++this.asked;
    const isStill = () => asked === this.asked;
    const answer = await fetch(`/trade/${id}`).catch(() => null);
    if (!isStill()) return;
    const { columns: seenLive, trade: closed } = answer?.ok ? await answer.json() : {};
    const told = closed ?? trade();
    if (!isStill() || !told) return;
    if (seenLive) return this.open(told, seenLive, marksOf(told));
    if (!this.chosen) return;
    this.open(told, null, []);
    const day = told.day && told.day !== live.trades?.today ? told.day : "";
    if (!day) return set("option-words", "The worker has not seen the quotes of this trade since it began.");
    const index = await askForDay(day, (words) => isStill() && set("option-words", words), isStill);
    if (!index || !isStill()) return;
    const columns = index.paths[id];
    if (columns) this.open(told, columns, marksOf(told));
    else set("option-words", "No quotes of this trade were recorded.");
  },
};

const tradeOf = (id) => seen.trades?.rows.find((row) => row.id === id);
const dollarsOf = (text) => Number(text.replace(/[$,]/g, ""));

// BUY and SELL of a trade, or of the open position.
function marksOf(trade) {
  const buy = [trade.opened_at, "BUY", trade.entry, trade.id];
  return trade.closed_at ? [buy, [trade.closed_at, "SELL", `${trade.exit} ${trade.why}`, trade.id]] : [buy];
}

// --- the sections ---

const show = {
  ...cards,

  headline(head) {
    cards.headline(head);
    if (seen === live) document.title = cards.title(head, about.symbol);
  },

  clock(clock) {
    cards.clock(clock);
    session?.shade(clock);
  },

  health: (found) => cards.health(found, seen === live ? "" : "then: "),

  why: (words) => set("why", words),

  point: (point) => point && session?.push(point),

  history(start) {
    if (start !== history) load();
    history = start;
  },

  corrected([count, from]) {
    if (corrections !== null && count > corrections) load(from);
    corrections = count;
  },

  position(held) {
    cards.position(held);
    if (seen === live && !held && option.id && !option.chosen) option.fetch(option.id, () => tradeOf(option.id));
  },

  option(newest) {
    if (!newest || !seen.position) return;
    const [id, ...point] = newest;
    if (id !== option.id) option.follow(id);
    else if (option.chart?.trade?.id === id) option.chart.push(point);
  },

  trades(trades) {
    cards.trades(trades);
    equity.show(trades.curve);
    const [last] = trades.rows;
    if (seen === live && !seen.position && !option.id && last?.day === trades.today) option.follow(last.id);
  },

  marks(marks) {
    session?.mark(marks);
    if (seen.clock) session?.shade(seen.clock);
  },
};

// What hangs on more than one section.
function together() {
  if (!seen.clock) return;
  cards.ages(seen);
  cards.exits(seen.position, seen.clock);
  if (seen === live) hands?.show(seen.position, seen.clock.stopped, seen.trades?.rows.slice(0, TOLD_MAX));
}

function render(names) {
  for (const name of names) show[name]?.(seen[name]);
  together();
}

// --- a past day ---

const ofPast = {
  enter(index) {
    seen = {};
    option.close();
    session.name(index.symbol, index.leader);
    session.take(index.columns);
    session.view.follow();
    for (const id of ["mode", "lost"]) $(id).hidden = true;
    document.title = `PAST ${index.day} · ${about.symbol}`;
    tellOfLive();
  },

  render(sections, changed) {
    seen = sections;
    render(changed.filter((name) => !NOT_PAST.includes(name)));
  },

  // Charts up to a second; the option's is that of the position then held, or of the last trade.
  draw(index, second, sections) {
    session.until(second);
    if (option.chosen) return;
    const trade = sections.position ?? sections.trades?.rows.find((row) => row.id in index.paths);
    const columns = trade && index.paths[trade.id];
    if (!columns) return option.close();
    option.id = trade.id;
    option.open(trade, columns, marksOf(trade), sections.clock.at);
  },

  live() {
    seen = live;
    option.close();
    $("mode").hidden = about.mode === "live";
    $("past-live").textContent = "";
    $("lost").hidden = isHeard;
    session.name(about.symbol, about.leader);
    session.whole([]);
    render(Object.keys(live).filter((name) => !NOT_PAST.includes(name)));
    load();
  },
};

// Whoever looks at another day must not miss what happens now.
function tellOfLive() {
  const health = live.health && !["ok", "amber"].includes(live.health.status) ? `${live.health.status}: ${live.health.reason}` : "";
  const held = live.position ? `a position is open, ${live.position.name}` : "";
  const words = [isHeard ? "" : "the connection is lost", held, health].filter(Boolean).join("; ");
  set("past-live", words ? `Live now: ${words}.` : "");
}

// --- the stream ---

async function load(from) {
  const answer = await fetch(from === undefined ? "/chart" : `/chart/${from}`).catch(() => null);
  if (!answer || !answer.ok) return;
  const columns = await answer.json();
  if (seen === live) session.load(columns, from);
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
    if (news.alerts) signals.hear(news.alerts.rows);
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
  document.body.classList.toggle("lost", !isThere);
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
  set("mode", about.mode, "badge fair");
  $("mode").hidden = about.mode === "live" || seen !== live;
  set("version", about.version);
  session ??= new SessionChart($("session"), $("session-live"), about.symbol, about.leader, byId);
  past ??= new Past(ofPast);
  if (about.may_act) {
    const close = { box: $("close"), said: $("close-said") };
    hands ??= new Hands($("hands"), $("said"), () => ({ "X-Desk": about.word }), { close });
  } else set("hands-note", "Read only: set DASHBOARD_TOKEN to act from here.");
  listen();
}

function byId(id) {
  const trade = tradeOf(id);
  if (trade) choose(trade);
}

function choose(trade) {
  const known = past?.index?.paths[trade.id];
  if (!known) return option.choose(trade);
  [option.id, option.chosen] = [trade.id, true];
  option.open(trade, known, marksOf(trade));
}

// --- the looks ---

function dress(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  for (const chart of [session, option.chart, equity]) chart?.dress();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
$("theme").addEventListener("click", () => dress(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
for (const button of document.querySelectorAll("[data-minutes]")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[data-minutes]")) other.setAttribute("aria-pressed", String(other === button));
    session?.view.follow(Number(button.dataset.minutes));
  });
}
$("trades").tBodies[0].addEventListener("click", (event) => byId(event.target.closest("tr")?.dataset.trade));
$("option-close").addEventListener("click", () => {
  const held = seen.position?.id;
  option.close();
  if (seen === live) option.follow(held);
});
begin();
