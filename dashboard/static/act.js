// The page behind an alert's link. The word stands behind the # of the address, so no server ever saw it; it is taken out of
// the address at once.

import { $, Hands, facts, tone } from "/shared.js";

const word = location.hash.slice(1);
history.replaceState(null, "", "/act");
const headers = () => ({ Authorization: `Link ${word}` });
const hands = new Hands($("hands"), $("said"), headers);

async function look() {
  const answer = await fetch("/link", { headers: headers() }).catch(() => null);
  const told = answer ? await answer.json() : { says: "The worker cannot be reached." };
  if (!answer || !answer.ok) {
    $("what").textContent = told.says;
    $("hands").replaceChildren();
    return;
  }
  const held = told.position;
  const closed = told.closed;
  $("what").textContent = held ? held.contract : closed ? `${closed.contract} is closed` : `Trade ${told.trade} is closed`;
  const list = held
    ? [["entry", held.entry], ["mark", held.mark], ["now", held.change, tone(held.change)], ["peak", held.peak], ["your fill", held.skipped ? "skipped" : held.real_entry], ["sold by you at", held.real_exit]]
    : closed
      ? [["entry", closed.entry], ["exit", closed.exit], ["P&L", closed.pnl, tone(closed.pnl)], ["yours", closed.real, tone(closed.real)], ["at", closed.real_prices]]
      : [];
  facts($("p-facts"), list);
  hands.show(held, told.stopped, closed ? [closed] : []);
  setTimeout(look, 2000);
}

look();
