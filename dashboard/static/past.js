// A past day from its tape: its charts are loaded once, its seconds in pieces of five minutes. Everything else happens here.

import { $, clockText, make } from "/shared.js";

const PIECES_KEPT = 6;
const AGAIN_MS = 1500;
const LIVE = "";

// A day's index, asked for until it is made; null when it cannot be had, or is wanted no longer. `say` tells how far it is.
export async function askForDay(day, say, isStill) {
  for (;;) {
    const answer = await fetch(`/days/${day}`).catch(() => null);
    if (!isStill()) return null;
    if (answer && answer.status === 200) return answer.json();
    const told = answer ? await answer.json().catch(() => ({})) : { says: "The worker cannot be reached." };
    say(told.says ?? "That did not work.");
    if (!answer || answer.status !== 202) return null;
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

export class Past {
  // `render(sections, changed)` shows a second; `draw(index, second, sections)` the charts up to it; `live()` goes back.
  constructor({ render, draw, enter, live }) {
    Object.assign(this, { render, draw, enter, live });
    this.choice = $("day-choice");
    this.slider = $("second");
    this.index = null;
    this.pieces = new Map();
    this.shown = {};
    this.visit = 0;
    this.due = false;
    this.choice.addEventListener("focus", () => this.list());
    this.choice.addEventListener("change", () => (this.choice.value === LIVE ? this.leave() : this.open(this.choice.value)));
    $("back-live").addEventListener("click", () => this.leave());
    this.slider.addEventListener("input", () => this.ask());
    for (const button of document.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => this.go(Number(this.slider.value) + Number(button.dataset.step)));
    }
    this.list();
  }

  get isOpen() {
    return this.index !== null;
  }

  async list() {
    const answer = await fetch("/days").catch(() => null);
    if (!answer || !answer.ok) return;
    const { days } = await answer.json();
    const known = [...this.choice.options].map((option) => option.value).join();
    if (known === [LIVE, ...days].join()) return;
    const chosen = this.choice.value;
    this.choice.replaceChildren(new Option("live", LIVE), ...days.map((day) => new Option(day, day)));
    this.choice.value = days.includes(chosen) ? chosen : LIVE;
  }

  // Asks for a day until it is made; whatever is chosen meanwhile ends the asking.
  async open(day) {
    const visit = ++this.visit;
    this.say(`Asking for ${day}…`);
    const index = await askForDay(day, (words) => this.say(words), () => visit === this.visit);
    if (visit !== this.visit) return;
    if (index) this.begin(index);
    else this.choose(this.index?.day ?? LIVE);
  }

  begin(index) {
    this.index = index;
    this.pieces.clear();
    this.shown = {};
    this.say("");
    [this.slider.min, this.slider.max] = [index.from, index.to];
    this.slider.value = index.from;
    document.body.classList.add("past");
    $("past").hidden = false;
    const day = new Date(index.open_at * 1000).toLocaleDateString("en-GB", { timeZone: "America/New_York", weekday: "short", day: "numeric", month: "short", year: "numeric" }).replace(",", "");
    $("past-banner").textContent = `PAST, not live: ${day}`;
    const differs = index.differing ? ` ${index.differing} of its ${index.batches} turns were decided otherwise when they were live: see replay verify.` : "";
    $("past-note").textContent = `${index.tapes > 1 ? `The worker lived ${index.tapes} times that day.` : ""}${differs}`;
    $("jumps").replaceChildren(
      ...index.marks.map(([at, kind]) => {
        const jump = make("button", `${kind} ${clockText(at)}`);
        jump.type = "button";
        jump.addEventListener("click", () => this.go(at));
        return jump;
      }),
    );
    this.enter(index);
    this.ask();
    this.slider.focus();
  }

  leave() {
    this.visit += 1;
    this.say("");
    this.choose(LIVE);
    if (!this.isOpen) return;
    this.index = null;
    this.pieces.clear();
    document.body.classList.remove("past");
    $("past").hidden = true;
    this.live();
    this.choice.focus();
  }

  choose(day) {
    this.choice.value = day;
  }

  say(words) {
    $("day-said").textContent = words;
  }

  go(second) {
    this.slider.value = second;
    this.ask();
  }

  // The slider moved: its second is shown at the next frame, once however often it moves until then.
  ask() {
    $("second-text").textContent = clockText(Number(this.slider.value));
    this.slider.setAttribute("aria-valuetext", `${clockText(Number(this.slider.value))} New York`);
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.show().catch(() => this.say("That second could not be loaded."));
    });
  }

  async show() {
    const index = this.index;
    if (index === null) return;
    const wanted = Number(this.slider.value);
    const number = index.pieces.findLast((one) => index.open_at + one * index.piece_s <= wanted) ?? index.pieces[0];
    const piece = await this.piece(index, number);
    if (this.index !== index || Number(this.slider.value) !== wanted) return;
    const frames = piece.filter(([second], place) => place === 0 || second <= wanted);
    const sections = Object.assign({}, ...frames.map(([, changed]) => changed));
    const second = frames.at(-1)[0];
    const changed = Object.keys(sections).filter((name) => this.shown[name] !== sections[name]);
    this.shown = sections;
    const gap = index.gaps.find(([from, to]) => wanted > from && wanted < to);
    $("past-gap").textContent = gap ? `Nothing was recorded from ${clockText(gap[0])} to ${clockText(gap[1])}: this is ${clockText(second)}.` : "";
    this.draw(index, sections.point ? sections.point[0] : second, sections);
    this.render(sections, changed);
    this.say("");
  }

  async piece(index, number) {
    const kept = this.pieces.get(number);
    this.pieces.delete(number);
    const found = kept ?? fetch(`/days/${index.day}/${number}`).then((answer) => {
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.json();
    });
    this.pieces.set(number, found);
    found.catch(() => this.pieces.delete(number));
    while (this.pieces.size > PIECES_KEPT) this.pieces.delete(this.pieces.keys().next().value);
    return found;
  }
}
