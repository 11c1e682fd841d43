// Each section as it is shown. A card takes what the worker says and draws it; it keeps nothing and asks for nothing.

import { $, clockText, facts, lasting, make, named, row, set, table, tone } from "/shared.js";

const BARS_OLD_S = 10;
const QUOTE_OLD_S = 5;
const CHAIN_OLD_S = 60;
const LIGHTS = { yes: ["●", "holds"], no: ["○", "does not hold"], off: ["–", "switched off"] };

const isOpen = (clock) => Boolean(clock.open_at && clock.at >= clock.open_at && clock.at < clock.close_at);
const ageOf = (clock, at) => (at == null ? "" : isOpen(clock) ? `${lasting(clock.at - at)} old` : `as of ${clockText(at)}`);

function left(id, at, until) {
  set(id, until && at < until ? lasting(until - at) : until ? "over" : "–");
}

// --- the head ---

export function headline(head) {
  const name = `state ${head.kind}`;
  if ($("state").className !== name) $("state").className = name;
  set("state-words", head.words);
  set("state-worth", head.worth, `worth ${tone(head.worth)}`);
  set("price-now", head.price || "–");
  set("today", head.today, tone(head.today));
}

export const title = (head, symbol) =>
  head ? `${head.kind === "blind" ? "BLIND" : head.worth || head.kind} · ${symbol} ${head.price}`.trim() : symbol;

export function clock(now) {
  set("now", clockText(now.at));
  set("day", now.day);
  const early = now.open_at && now.at < now.open_at;
  set("cutoff-name", early ? "opens in" : "entries end in");
  left("cutoff", now.at, early ? now.open_at : now.cutoff_at);
  left("timestop", now.at, now.time_stop_at);
  const age = (id, at, most) => set(id, at ? `${now.at - at} s` : "–", isOpen(now) && now.at - at > most ? "loss" : "");
  age("feed-age", now.heard_at, QUOTE_OLD_S);
  age("chain-age", now.chain_at, CHAIN_OLD_S);
}

// What is old is grey, and says how old it is.
export function ages({ clock: now, position }) {
  const bars = now.newest && now.at - now.newest > BARS_OLD_S ? ageOf(now, now.newest) : "";
  set("price-age", bars);
  set("gates-age", bars);
  const chain = now.chain_at && now.at - now.chain_at > CHAIN_OLD_S ? ageOf(now, now.chain_at) : "";
  set("chain-old", chain);
  const quote = position?.quote_at && now.at - position.quote_at > QUOTE_OLD_S ? `quote ${ageOf(now, position.quote_at)}` : "";
  set("quote-age", quote);
  for (const [id, old] of [["price-now", bars], ["gates", bars], ["tracked", chain], ["p-facts", quote], ["exits", quote], ["state-worth", quote]]) {
    $(id).classList.toggle("old", Boolean(old));
  }
}

export function health(found, prefix) {
  const name = { ok: "good", amber: "fair" }[found.status] ?? "bad";
  set("health", prefix + (found.status === "ok" ? "all is well" : [found.status, found.reason, found.detail].filter(Boolean).join(": ")), `badge ${name}`);
}

// --- the position ---

export function position(held) {
  $("position-card").hidden = !held;
  const nearest = held?.nearest;
  set("state-nearest", nearest ? `Nearest exit: ${nearest.name} at ${nearest.level}, ${nearest.away} away` : "");
  if (!held) return;
  set("p-contract", held.name);
  $("p-contract").title = held.contract;
  if (held.settling) return facts($("p-facts"), [["", "is being settled"]]);
  $("blind").hidden = !held.blind;
  set("blind", held.blind);
  facts($("p-facts"), [
    ["entry", held.entry],
    ["mark", held.mark],
    ["change", held.change, tone(held.change)],
    ["bid × ask", held.quote],
    ["peak", held.peak],
    ["if sold now", held.worth, tone(held.worth)],
    ["your fill", held.skipped ? "skipped" : held.real_entry],
    ["your sale", held.real_exit],
    [held.real_exit ? "your P&L" : "yours if sold now", held.real_worth, tone(held.real_worth)],
    ["since", held.opened],
  ]);
}

// Each exit, with the seconds left where time is what it waits for.
export function exits(held, now) {
  if (!held?.exits) return;
  const rows = held.exits.map((exit) => [exit.name, exit.note, exit.level, exit.away || (exit.at ? lasting(exit.at - now.at) : "")]);
  const key = JSON.stringify(rows);
  if ($("exits").dataset.key === key) return;
  $("exits").dataset.key = key;
  table("exits", rows.map(([name, note, ...cells]) => {
    const cell = make("td", name);
    if (note) cell.append(make("span", note, "reason"));
    return row([cell, ...cells]);
  }), "");
}

// --- conditions and contracts ---

export function gates(list) {
  table(
    "gates",
    list.map((gate) => {
      const name = make("td");
      const [mark, words] = LIGHTS[gate.light];
      name.append(make("span", mark, "light"), make("span", words, "hidden"), make("span", gate.name));
      if (gate.reason) name.append(make("span", gate.reason, "reason"));
      const value = make("td", gate.value);
      if (gate.wanted) value.dataset.wanted = gate.wanted; // stands below the value where the screen is narrow
      return row([gate.number, name, value, gate.wanted, gate.margin], gate.light);
    }),
    "nothing yet",
  );
}

// A card for each other strategy that is on, made of what it says of itself.
export function others(list) {
  $("others").replaceChildren(
    ...list.map((strategy) => {
      const card = make("section", "", "card");
      card.append(make("h2", strategy.name), make("p", strategy.why ? `No entry: ${strategy.why}` : "Nothing refuses an entry."));
      const lights = make("table");
      for (const gate of strategy.gates) {
        const [mark, words] = LIGHTS[gate.light];
        const name = make("td");
        name.append(make("span", mark, "light"), make("span", words, "hidden"), make("span", gate.name));
        if (gate.reason) name.append(make("span", gate.reason, "reason"));
        lights.append(row([gate.number, name, gate.value, gate.wanted], gate.light));
      }
      card.append(lights);
      return card;
    }),
  );
}

export function contracts(found) {
  set("skew", found.skew ? `IV skew ${found.skew}` : "");
  const numbers = (c) => [c.quote, c.size, c.spread, c.volume, c.interest, c.score];
  table("tracked", found.tracked.map((c) => row([named(c), c.delta, c.iv + (c.computed ? " (computed)" : ""), ...numbers(c)])), "none");
  set("emptied", found.emptied_by ? `Emptied by: ${found.emptied_by}` : "");
  table("fallen", found.fallen.map((c) => row([c.strike, c.delta, c.quote, c.spread, c.volume, c.interest, c.why])), "none");
}

// --- what was ---

export function trades(found) {
  facts($("record"), [
    ["lifetime", found.balance, tone(found.balance)],
    ["wins/losses", found.count],
    ["win rate", found.rate],
    ["expectancy", found.expectancy, tone(found.expectancy)],
    ["max drawdown", found.drawdown, tone(found.drawdown)],
    ["your fills", found.real, tone(found.real)],
  ]);
  const sign = (number) => (number > 0 ? "gain" : number < 0 ? "loss" : "");
  table(
    "trades",
    found.rows.map((trade) => {
      const own = make("td", trade.real, sign(trade.real_sign));
      if (trade.real_prices) own.append(make("span", trade.real_prices, "reason"));
      const [cell, open] = [make("td"), named(trade, "button")];
      open.type = "button";
      open.className = "link";
      cell.append(open);
      const line = row([trade.opened, trade.closed, cell, trade.entry, trade.exit, trade.peak, trade.reason, make("td", trade.pnl, sign(trade.sign)), own], "open");
      line.dataset.trade = trade.id;
      return line;
    }),
    "none yet",
  );
  table("days", found.days.map((day) => row([day.day, day.count, make("td", day.pnl, tone(day.pnl))])), "none yet");
}

export function alerts(found) {
  facts($("latency"), [["decision to acceptance", found.accepted], ["decision to seen", found.acknowledged]]);
  table("alerts", found.rows.map((a) => row([a.at, a.title, a.outcome, a.took, a.attempts, a.seen], a.kind.toLowerCase())), "none yet");
}

export function notes(list) {
  table("notes", list.map((note) => row([note.at, note.kind, note.said])), "none today");
}

export function log(lines) {
  const box = $("log");
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 20;
  box.textContent = lines.join("\n");
  if (atEnd) box.scrollTop = box.scrollHeight;
}
