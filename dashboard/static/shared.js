// What all pages use. Whatever comes from the worker becomes text, never markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, text = "", name = "") {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (name) node.className = name;
  return node;
}

export async function post(path, body, headers = {}) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, said: text ? JSON.parse(text) : {} };
  } catch {
    return { status: 0, said: { says: "The worker cannot be reached." } };
  }
}

export function facts(list, pairs) {
  list.replaceChildren(
    ...pairs
      .filter(([, value]) => value)
      .map(([name, value, kind]) => {
        const pair = make("div");
        pair.append(make("dt", name), make("dd", value, kind || ""));
        return pair;
      }),
  );
}

export function tone(text) {
  return text.startsWith("+") ? "gain" : /^[-−]/.test(text) ? "loss" : "";
}

const PRESS_AGAIN_MS = 20_000;

// The buttons. `headers` prove who presses. Each button needs two presses: the server makes the promise at the first, and takes it
// back at the second. What was really paid and got may be told of the open position and of the `trades` closed of late.
export class Hands {
  constructor(box, said, headers) {
    this.box = box;
    this.said = said;
    this.headers = headers;
    this.key = "";
  }

  show(position, stopped, trades = []) {
    const id = position && !position.settling ? position.id : "";
    const key = JSON.stringify([id, stopped, trades.map((trade) => trade.id)]);
    if (key === this.key) return;
    this.key = key;
    const entries = stopped ? ["Resume entries", "resume_entries"] : ["Stop entries", "stop_entries"];
    const row = make("div", "", "buttons");
    row.append(this.button(...entries, () => ({})));
    this.box.replaceChildren(row);
    if (id) row.append(this.button("Close now", "close_now", () => ({ position: id }), "danger"));
    const sides = [
      ...(id ? [{ id, words: `open: ${position.contract}`, entry: position.entry, exit: "" }] : []),
      ...trades.map((trade) => ({ id: trade.id, words: `${trade.opened}: ${trade.contract}`, entry: trade.entry, exit: trade.exit })),
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

  button(words, command, fields, name = "") {
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
      this.said.textContent = said.says || "That did not work.";
      if (status !== 202) return;
      armed = { fields: sent, confirm: said.confirm, timer: setTimeout(disarm, PRESS_AGAIN_MS) };
      button.textContent = `${words}: press again`;
      button.classList.add("armed");
      button.focus();
    });
    return button;
  }
}
