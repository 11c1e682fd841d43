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

// The buttons. `headers` prove who presses; `state` has `position` (or null) and `stopped`. Each button needs two presses:
// the server makes the promise at the first, and takes it back at the second.
export class Hands {
  constructor(box, said, headers) {
    this.box = box;
    this.said = said;
    this.headers = headers;
    this.key = "";
  }

  show(position, stopped) {
    const key = JSON.stringify([position && position.id, stopped]);
    if (key === this.key) return;
    this.key = key;
    const id = position && !position.settling ? position.id : "";
    const entries = stopped ? ["Resume entries", "resume_entries"] : ["Stop entries", "stop_entries"];
    const row = make("div", "", "buttons");
    row.append(this.button(...entries, () => ({})));
    this.box.replaceChildren(row);
    if (!id) return;
    row.append(this.button("Close now", "close_now", () => ({ position: id }), "danger"));
    const price = make("input");
    price.id = "fill";
    price.inputMode = "decimal";
    price.size = 7;
    price.placeholder = position.entry.replace("$", "");
    const label = make("label", "I took it at $");
    label.htmlFor = "fill";
    const own = make("div", "", "buttons");
    own.append(
      label,
      price,
      this.button("I took it", "took_it", () => ({ position: id, price: price.value || price.placeholder })),
      this.button("I skipped it", "skipped_it", () => ({ position: id })),
    );
    this.box.append(own);
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
