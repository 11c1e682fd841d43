// What all pages use. Whatever comes from the worker becomes text, never markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, text = "", name = "") {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (name) node.className = name;
  return node;
}

// Text and class of a node; nothing is touched that is so already.
export function set(id, text, name) {
  const node = $(id);
  if (node.textContent !== text) node.textContent = text;
  if (name !== undefined && node.className !== name) node.className = name;
}

export function row(cells, name = "") {
  const line = make("tr", "", name);
  line.append(...cells.map((cell) => (cell instanceof Node ? cell : make("td", String(cell ?? "")))));
  return line;
}

export function table(id, rows, nothing) {
  const body = $(id).tBodies[0];
  if (!rows.length) {
    const cell = make("td", nothing, "quiet");
    cell.colSpan = 20;
    rows = [row([cell])];
  }
  body.replaceChildren(...rows);
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

const two = (number) => String(number).padStart(2, "0");

export function lasting(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

const newYork = new Intl.DateTimeFormat("en-GB", { timeZone: "America/New_York", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const clockText = (at) => newYork.format(at * 1000);

// A short name of a contract, the full one behind it.
export function named(contract, tag = "td") {
  const node = make(tag, contract.name);
  node.title = contract.contract;
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
