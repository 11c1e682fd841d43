// What all charts share: looks, New York's clock, a legend that says the values under the pointer, bands behind the lines, and a view
// that follows the newest second until somebody moves it.

import { ColorType, createChart } from "/lightweight-charts.js";
import { clockText, make } from "/shared.js";

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const ROOM = 0.06; // of the view, right of the newest second

const clear = (name, strength) => `color-mix(in srgb, ${colour(name)} ${strength}%, transparent)`;

function looks() {
  const line = { color: colour("--line") };
  return {
    layout: {
      background: { type: ColorType.Solid, color: colour("--card") },
      textColor: colour("--quiet"),
      fontFamily: "system-ui, sans-serif",
      panes: { separatorColor: colour("--line"), separatorHoverColor: colour("--line") },
    },
    grid: { vertLines: line, horzLines: line },
    crosshair: { mode: 0, vertLine: { labelBackgroundColor: colour("--quiet") }, horzLine: { labelBackgroundColor: colour("--quiet") } },
    rightPriceScale: { borderColor: colour("--line") },
    timeScale: { borderColor: colour("--line") },
  };
}

export function newChart(box, more = {}) {
  const seconds = (at, kind) => (kind === 4 ? clockText(at) : clockText(at).slice(0, 5));
  const chart = createChart(box, {
    autoSize: true,
    localization: { timeFormatter: clockText },
    layout: { attributionLogo: false }, // said at the foot of the page: the logo needs a style of its own, which the page's policy forbids
    handleScroll: { vertTouchDrag: false },
    ...more,
  });
  chart.applyOptions(looks());
  chart.applyOptions({
    rightPriceScale: { minimumWidth: 62 },
    timeScale: { timeVisible: true, secondsVisible: true, shiftVisibleRangeOnNewBar: false, minBarSpacing: 0.002, tickMarkFormatter: seconds },
  });
  return chart;
}

export const dress = (chart) => chart.applyOptions(looks());

// A row for each second between two, so that time runs evenly; `fill` makes the one of a second without a row.
export function evenly(rows, fill) {
  const even = [];
  for (const row of rows) {
    for (let at = even.length ? even.at(-1)[0] + 1 : row[0]; at < row[0]; at += 1) even.push(fill(at));
    even.push(row);
  }
  return even;
}

export const point = (at, value) => (value == null ? { time: at } : { time: at, value });

// Follows the newest second until a hand moves the view; `again` is the button that leads back.
export class View {
  constructor(chart, box, again, minutes) {
    Object.assign(this, { chart, again, minutes, count: 0, follows: true });
    box.addEventListener("wheel", () => this.leave(), { passive: true });
    box.addEventListener("pointermove", (event) => event.buttons && this.leave());
    box.addEventListener("touchmove", () => this.leave(), { passive: true });
    again.addEventListener("click", () => this.follow());
    this.tell();
  }

  leave() {
    if (!this.follows) return;
    this.follows = false;
    this.tell();
  }

  follow(minutes = this.minutes) {
    this.minutes = minutes;
    this.follows = true;
    this.tell();
    this.show(this.count);
  }

  tell() {
    this.again.setAttribute("aria-pressed", String(this.follows));
  }

  // There are so many seconds now.
  show(count) {
    this.count = count;
    if (!this.follows || !count) return;
    const span = this.minutes ? this.minutes * 60 : Math.max(count, 60);
    const before = this.minutes ? 0 : span * ROOM;
    this.chart.timeScale().setVisibleLogicalRange({ from: count - span - before, to: count + Math.max(2, span * ROOM) });
  }

  // All seconds are set anew, and `more` came before the first: what is looked at stays where it was.
  keep(more, set) {
    const range = this.follows ? null : this.chart.timeScale().getVisibleLogicalRange();
    set();
    if (range) this.chart.timeScale().setVisibleLogicalRange({ from: range.from + more, to: range.to + more });
  }
}

// Names and values over a pane. Only what is known is said.
export class Legend {
  constructor(box, names) {
    this.box = make("p", "", "legend");
    this.values = names.map(([name, shade]) => {
      const item = make("span", "", "key");
      const dot = make("i");
      if (shade) dot.style.background = `var(${shade})`;
      const value = make("b");
      item.append(dot, make("span", name), value);
      this.box.append(item);
      return [item, value];
    });
    box.append(this.box);
  }

  say(texts) {
    this.values.forEach(([item, value], place) => {
      item.hidden = !texts[place];
      if (value.textContent !== texts[place]) value.textContent = texts[place];
    });
  }

  name(place, text) {
    this.values[place][0].children[1].textContent = text;
  }
}

// Bands behind the lines of a pane: `[from, to, colour, strength]`, in seconds; `first` is the second of the first row.
export class Bands {
  constructor() {
    this.bands = [];
    this.first = 0;
    const renderer = { draw: (target) => target.useBitmapCoordinateSpace((scope) => this.draw(scope)) };
    this.views = [{ zOrder: () => "bottom", renderer: () => renderer }];
  }

  attached({ chart, requestUpdate }) {
    this.chart = chart;
    this.requestUpdate = requestUpdate;
  }

  paneViews() {
    return this.views;
  }

  set(bands, first) {
    [this.bands, this.first] = [bands, first];
    this.requestUpdate?.();
  }

  draw({ context, bitmapSize, horizontalPixelRatio }) {
    const scale = this.chart.timeScale();
    for (const [from, to, shade, strength] of this.bands) {
      const [left, right] = [from, to].map((at) => scale.logicalToCoordinate(at - this.first));
      if (left === null || right === null) continue;
      context.fillStyle = clear(shade, strength);
      context.fillRect(left * horizontalPixelRatio, 0, (right - left) * horizontalPixelRatio, bitmapSize.height);
    }
  }
}
