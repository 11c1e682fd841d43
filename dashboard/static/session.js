// The session second by second: price, volume, and the change against the leader, in three panes with one time and one pointer.

import { Bands, Legend, View, colour, dress, evenly, newChart, point } from "/chart.js";
import { HistogramSeries, LineSeries, PriceScaleMode, createSeriesMarkers } from "/lightweight-charts.js";

const NAMES = ["t", "close", "vwap_60", "vwap_300", "volume", "volume_p95", "leader"];
// series: which column, in which pane, its colour, its width
const SERIES = [
  [4, 1, "--volume", 1],
  [5, 1, "--trend", 1],
  [2, 0, "--vwap", 1.5],
  [3, 0, "--trend", 1.5],
  [1, 0, "--price", 2],
  [1, 2, "--price", 1.5],
  [6, 2, "--leader", 1.5],
];
const AT_ONCE = 20; // rows that are put in or taken out singly; setting all anew is quicker for more

const shares = (value) => (value >= 10_000 ? `${(value / 1000).toFixed(0)}k` : value >= 1000 ? `${(value / 1000).toFixed(1)}k` : value.toFixed(0));
const dollars = (value) => (value == null ? "" : value.toFixed(2));
const empty = (at) => [at, null, null, null, null, null, null];

export class SessionChart {
  // `chosen` is called with the id of a trade whose mark was clicked.
  constructor(box, again, symbol, leader, chosen) {
    this.box = box;
    this.rows = []; // a row for each second
    this.drawn = 0; // how many of them are in the chart
    this.marks = [];
    this.clock = null;
    this.chart = newChart(box, { handleScale: { axisPressedMouseMove: { time: true, price: false } } });
    this.series = SERIES.map(([, pane, , width], place) => this.add(place, pane, width));
    this.chart.panes().forEach((pane, place) => pane.setStretchFactor([5, 2, 2][place]));
    this.series[0].priceScale().applyOptions({ scaleMargins: { top: 0.18, bottom: 0 } });
    this.series[4].priceScale().applyOptions({ scaleMargins: { top: 0.16, bottom: 0.08 } });
    this.series[5].priceScale().applyOptions({ mode: PriceScaleMode.Percentage, scaleMargins: { top: 0.22, bottom: 0.06 } });
    this.marker = createSeriesMarkers(this.series[4], []);
    this.bands = new Bands();
    this.chart.panes()[0].attachPrimitive(this.bands);
    this.view = new View(this.chart, box, again, 30);
    this.legends = [
      new Legend(box, [["", ""], [symbol, "--price"], ["VWAP 1m", "--vwap"], ["VWAP 5m", "--trend"]]),
      new Legend(box, [["volume", "--volume"], ["95th percentile", "--trend"]]),
      new Legend(box, [[symbol, "--price"], [leader, "--leader"]]),
    ];
    this.under = null;
    this.chart.subscribeCrosshairMove((event) => this.point(event.time));
    this.chart.subscribeClick((event) => event.hoveredObjectId && chosen(String(event.hoveredObjectId).slice(1)));
    new ResizeObserver(() => requestAnimationFrame(() => this.place())).observe(box);
    this.dress();
  }

  add(place, pane, width) {
    const format = pane === 1 ? { type: "custom", formatter: shares, minMove: 1 } : { type: "price", precision: 2, minMove: 0.01 };
    const kind = place === 0 ? HistogramSeries : LineSeries;
    const options = { lineWidth: width, priceFormat: format, priceLineVisible: place === 4, lastValueVisible: true, crosshairMarkerRadius: 3 };
    return this.chart.addSeries(kind, options, pane);
  }

  dress() {
    dress(this.chart);
    this.series.forEach((series, place) => series.applyOptions({ color: colour(SERIES[place][2]) }));
    this.mark(this.marks);
    this.shade(this.clock);
  }

  name(symbol, leader) {
    this.legends[0].name(1, symbol);
    this.legends[2].name(0, symbol);
    this.legends[2].name(1, leader);
  }

  // The legends stand at the head of their panes.
  place() {
    let top = 0;
    this.chart.panes().forEach((pane, place) => {
      this.legends[place].box.style.top = `${top + 3}px`;
      top += pane.getHeight() + 1;
    });
  }

  // Columns from the second `from` on in the place of what was there; what is newer than they stays.
  load(columns, from = -Infinity) {
    const came = columns.t.map((_, index) => NAMES.map((name) => columns[name][index]));
    const end = came.at(-1)?.[0] ?? Infinity;
    const newer = this.rows.filter(([at, close]) => at > end && close !== null);
    const first = this.rows[0]?.[0];
    if (first === undefined || from <= first) return this.whole(evenly([...came, ...newer], empty));
    const kept = this.rows.slice(0, from - first);
    this.rows = [...kept.slice(0, -1), ...evenly([...kept.slice(-1), ...came, ...newer], empty)];
    this.view.keep(0, () => {
      if (this.drawn > kept.length) this.step(kept.length);
      this.step(this.rows.length);
    });
    this.told();
  }

  // Another day's columns, of which `until` shows a part.
  take(columns) {
    this.whole(evenly(columns.t.map((_, index) => NAMES.map((name) => columns[name][index])), empty));
  }

  whole(rows) {
    const [before, after] = [this.rows[0]?.[0], rows[0]?.[0]];
    this.rows = rows;
    this.view.keep(before && after ? before - after : 0, () => this.set(rows.length));
    this.told();
  }

  set(count) {
    const shown = this.rows.slice(0, count);
    this.series.forEach((series, place) => series.setData(shown.map((row) => point(row[0], row[SERIES[place][0]]))));
    this.drawn = count;
  }

  push(second) {
    const last = this.rows.at(-1)?.[0];
    if (last !== undefined && second[0] <= last) return;
    for (let at = (last ?? second[0] - 1) + 1; at < second[0]; at += 1) this.rows.push(empty(at));
    this.rows.push(second);
    this.draw(this.rows.length);
  }

  // What was known up to a second, and nothing after it.
  until(second) {
    if (!this.rows.length) return;
    this.draw(Math.min(Math.max(second - this.rows[0][0] + 1, 0), this.rows.length));
  }

  draw(count) {
    this.view.keep(0, () => this.step(count));
    this.told();
  }

  // From what is drawn to so many rows, by the shorter way.
  step(count) {
    const more = count - this.drawn;
    if (Math.abs(more) > AT_ONCE || count === 0) this.set(count);
    else if (more > 0) {
      for (const row of this.rows.slice(this.drawn, count)) {
        this.series.forEach((series, place) => series.update(point(row[0], row[SERIES[place][0]])));
      }
    } else if (more < 0) for (const series of this.series) series.pop(-more);
    this.drawn = count;
  }

  told() {
    this.view.show(this.drawn);
    this.mark(this.marks);
    this.shade(this.clock);
    if (this.under === null) this.say(this.last());
  }

  last() {
    for (let index = this.drawn - 1; index >= 0; index -= 1) if (this.rows[index][1] !== null) return this.rows[index];
    return empty(0);
  }

  point(at) {
    this.under = at ?? null;
    this.say(this.under === null ? this.last() : this.rows[at - this.rows[0][0]] ?? empty(at));
  }

  say([at, close, vwap, trend, volume, p95, leader]) {
    const time = at ? new Date(at * 1000).toLocaleTimeString("en-GB", { timeZone: "America/New_York" }) : "";
    this.legends[0].say([time, dollars(close), dollars(vwap), dollars(trend)]);
    this.legends[1].say([volume == null ? "" : shares(volume), p95 == null ? "" : shares(p95)]);
    this.legends[2].say([dollars(close), dollars(leader)]);
  }

  mark(marks) {
    this.marks = marks;
    const [first, last] = [this.rows[0]?.[0] ?? Infinity, this.rows[this.drawn - 1]?.[0] ?? -Infinity];
    const narrow = this.box.clientWidth < 500;
    const shown = marks.filter(([at]) => at >= first && at <= last + 5).map(([at, kind, words, trade]) => ({
      time: Math.min(at, last),
      position: kind === "BUY" ? "belowBar" : "aboveBar",
      shape: kind === "BUY" ? "arrowUp" : "arrowDown",
      color: colour(kind === "BUY" ? "--gain" : "--loss"),
      id: `${kind[0]}${trade}`,
      text: `${kind} ${narrow ? words.split(" ")[0] : words}`,
    }));
    const said = JSON.stringify(shown);
    if (said === this.said) return;
    this.said = said;
    this.marker.setMarkers(shown);
  }

  // Where no entry is allowed is grey, where a position was held is tinted.
  shade(clock) {
    this.clock = clock;
    if (!clock || !this.rows.length) return;
    const last = this.rows[this.drawn - 1]?.[0] ?? 0;
    const held = new Map();
    for (const [at, , , trade] of this.marks) held.set(trade, [...(held.get(trade) ?? []), at]);
    const bands = [...held.values()].map(([from, to = last]) => [from, Math.min(to, last), "--accent", 14]);
    if (clock.cutoff_at) bands.push([clock.cutoff_at, clock.close_at, "--quiet", 14]);
    if (clock.open_at && clock.warm_at) bands.push([clock.open_at, clock.warm_at, "--quiet", 14]);
    this.bands.set(bands, this.rows[0][0]);
  }
}
