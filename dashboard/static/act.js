// The page behind an alert's link. The word stands behind the # of the address, so no server ever saw it; it is taken out of
// the address at once, and kept by this tab alone, so that the page may be loaded again.

import { Hands } from "/manual.js";
import { $, facts, tone } from "/shared.js";

const KEPT = "link";
if (location.hash.length > 1) sessionStorage.setItem(KEPT, location.hash.slice(1));
const word = sessionStorage.getItem(KEPT) ?? "";
history.replaceState(null, "", "/act");
addEventListener("hashchange", () => location.reload());
const headers = () => ({ Authorization: `Link ${word}` });
const hands = new Hands($("hands"), $("said"), headers, { resumes: false });

async function look() {
  const answer = await fetch("/link", { headers: headers() }).catch(() => null);
  const told = answer ? await answer.json() : { says: "The worker cannot be reached." };
  if (!answer) {
    $("what").textContent = told.says;
    return setTimeout(look, 2000);
  }
  if (!answer.ok) {
    $("what").textContent = told.says;
    $("hands").replaceChildren();
    return;
  }
  const held = told.position;
  const closed = told.closed;
  $("what").textContent = held ? held.name : closed ? `${closed.name} is closed` : `Trade ${told.trade} is closed`;
  const list = held
    ? [["entry", held.entry], ["mark", held.mark], ["change", held.change, tone(held.change)], ["if sold now", held.worth, tone(held.worth)], ["peak", held.peak], ["your fill", held.skipped ? "skipped" : held.real_entry], ["sold by you at", held.real_exit]]
    : closed
      ? [["entry", closed.entry], ["exit", closed.exit], ["P&L", closed.pnl, tone(closed.pnl)], ["your fills", closed.real, tone(closed.real)], ["at", closed.real_prices]]
      : [];
  facts($("p-facts"), list);
  hands.show(held, told.stopped, closed ? [closed] : []);
  setTimeout(look, 2000);
}

look();
