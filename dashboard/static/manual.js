// The buttons. `headers` prove who presses. Each button needs two presses: the server makes the promise at the first, and takes it
// back at the second. What was really paid and got may be told of the open position and of the `trades` closed of late.

import { make, post } from "/shared.js";

const PRESS_AGAIN_MS = 20_000;

export class Hands {
  // `close` is where Close now stands and is answered, when not among the others. A trade's link does not resume entries.
  constructor(box, said, headers, { close = { box, said }, resumes = true } = {}) {
    Object.assign(this, { box, said, headers, close, resumes });
    this.key = "";
  }

  show(position, stopped, trades = []) {
    const id = position && !position.settling ? position.id : "";
    const key = JSON.stringify([id, stopped, trades.map((trade) => trade.id)]);
    if (key === this.key) return;
    this.key = key;
    const entries = stopped ? ["Resume entries", "resume_entries"] : ["Stop entries", "stop_entries"];
    const row = make("div", "", "buttons");
    if (this.resumes || !stopped) row.append(this.button(...entries, () => ({})));
    else row.append(make("span", "Entries are stopped; they are resumed on the page.", "quiet"));
    this.box.replaceChildren(row);
    const close = id ? [this.button("Close now", "close_now", () => ({ position: id }), "danger", this.close.said)] : [];
    if (this.close.box === this.box) row.append(...close);
    else this.close.box.replaceChildren(...close);
    if (this.close.said !== this.said) this.close.said.textContent = "";
    const sides = [
      ...(id ? [{ id, words: `open: ${position.name}`, entry: position.entry, exit: "" }] : []),
      ...trades.map((trade) => ({ id: trade.id, words: `${trade.opened}: ${trade.name}`, entry: trade.entry, exit: trade.exit })),
    ];
    if (sides.length) this.box.append(...this.told(sides));
  }

  // What the owner did with a trade: it is chosen from a list where there is more than one.
  told(sides) {
    const choice = make("select");
    choice.id = "told";
    choice.append(...sides.map((side) => new Option(side.words, side.id)));
    const price = (id) => {
      const input = make("input");
      input.id = id;
      input.inputMode = "decimal";
      input.autocomplete = "off";
      input.size = 7;
      return input;
    };
    const [bought, sold] = [price("fill"), price("sale")];
    const suggest = () => {
      const side = sides.find((one) => one.id === choice.value);
      [bought.placeholder, sold.placeholder] = [side.entry, side.exit].map((text) => text.replace(/[$–]/g, ""));
      bought.value = sold.value = "";
    };
    choice.addEventListener("change", suggest);
    suggest();
    const labelled = (words, input) => {
      const label = make("label", words);
      label.htmlFor = input.id;
      return [label, input];
    };
    const rows = Array.from({ length: 3 }, () => make("div", "", "buttons"));
    rows[0].append(...(sides.length > 1 ? labelled("Your side of", choice) : []));
    rows[1].append(
      ...labelled("I took it at $", bought),
      this.button("I took it", "took_it", () => ({ position: choice.value, price: bought.value || bought.placeholder })),
    );
    rows[2].append(
      ...labelled("I sold it at $", sold),
      this.button("I sold it", "sold_it", () => ({ position: choice.value, price: sold.value || sold.placeholder })),
      this.button("I skipped it", "skipped_it", () => ({ position: choice.value })),
    );
    return rows;
  }

  button(words, command, fields, name = "", answer = this.said) {
    const button = make("button", words, name);
    button.type = "button";
    button.dataset.command = command;
    let armed = null;
    const disarm = () => {
      if (armed) clearTimeout(armed.timer);
      armed = null;
      button.textContent = words;
      button.classList.remove("armed");
    };
    button.addEventListener("click", async () => {
      const sent = armed ? { ...armed.fields, confirm: armed.confirm } : fields();
      disarm();
      button.disabled = true;
      const { status, said } = await post("/act", { command, ...sent }, this.headers());
      button.disabled = false;
      answer.textContent = said.says || "That did not work.";
      if (status !== 202) return;
      armed = { fields: sent, confirm: said.confirm, timer: setTimeout(disarm, PRESS_AGAIN_MS) };
      button.textContent = `${words}: press again`;
      button.classList.add("armed");
      button.focus();
    });
    return button;
  }
}
