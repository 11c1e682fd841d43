// The way of one option: its mark between bid and ask, what was paid, where each exit fires, and the peak that the givebacks go by.

import { Legend, View, colour, dress, evenly, newChart, point } from "/chart.js";
import { LineSeries, LineStyle, LineType, createSeriesMarkers } from "/lightweight-charts.js";
import { clockText } from "/shared.js";

const NAMES = ["t", "bid", "ask", "mark", "stop", "hard", "tight", "peak"];
// series: name, column, colour, width, style, whether it goes in steps
const SERIES = [
  ["bid", 1, "--quiet", 1, LineStyle.Solid, true],
  ["ask", 2, "--quiet", 1, LineStyle.Solid, true],
  ["entry", 8, "--accent", 1, LineStyle.Dashed, true],
  ["stop loss", 4, "--loss", 1.5, LineStyle.Solid, true],
  ["hard giveback", 5, "--fair", 1.5, LineStyle.Dashed, true],
  ["VWAP giveback", 6, "--trend", 1.5, LineStyle.Dashed, true],
  ["peak", 7, "--gain", 1, LineStyle.Dotted, true],
  ["mark", 3, "--price", 2.5, LineStyle.Solid, false],
];
const dollars = (value) => (value == null ? "" : `$${value.toFixed(3)}`);

export class OptionChart {
  constructor(box, again) {
    this.box = box;
    this.trade = null; // id, entry, and of a closed one its exit
    this.rows = [];
    this.chart = newChart(box);
    this.series = SERIES.map(([, , , width, style, steps], place) =>
      this.chart.addSeries(LineSeries, {
        lineWidth: width,
        lineStyle: style,
        lineType: steps ? LineType.WithSteps : LineType.Simple,
        lastValueVisible: place > 1,
        priceFormat: { type: "price", precision: 3, minMove: 0.001 },
        priceLineVisible: false,
        crosshairMarkerVisible: place === SERIES.length - 1,
      }),
    );
    this.series[0].priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0.1 } });
    this.marker = createSeriesMarkers(this.series.at(-1), []);
    this.view = new View(this.chart, box, again, 0);
    this.legend = new Legend(box.parentNode, [["", ""], ...SERIES.map(([name, , shade]) => [name, shade])]);
    this.legend.box.classList.add("above");
    box.before(this.legend.box);
    this.under = null;
    this.chart.subscribeCrosshairMove(({ time }) => {
      this.under = time ?? null;
      this.say();
    });
    this.dress();
  }

  dress() {
    dress(this.chart);
    this.series.forEach((series, place) => series.applyOptions({ color: colour(SERIES[place][2]) }));
    this.mark();
  }

  // A trade's columns up to the second `until`; `marks` are its BUY and its SELL, as in the session's chart.
  show(trade, columns, marks, until = Infinity) {
    const same = this.trade?.id === trade.id;
    [this.trade, this.marks] = [trade, marks.filter(([at]) => at <= until)];
    const came = columns.t.map((_, index) => [...NAMES.map((name) => columns[name][index]), trade.entry]);
    this.rows = evenly(came.filter(([at]) => at <= until), (at) => [at, ...Array(8).fill(null)]);
    const set = () => this.series.forEach((series, place) => series.setData(this.rows.map((row) => point(row[0], row[SERIES[place][1]]))));
    if (same) this.view.keep(0, set);
    else {
      set();
      this.view.follows = true;
      this.view.tell();
    }
    this.told();
  }

  // The newest second of the option that is held.
  push(second) {
    const last = this.rows.at(-1)?.[0];
    if (last === undefined || second[0] < last) return;
    const fresh = [...second, this.trade.entry];
    const rows = second[0] === last ? [fresh] : evenly([[last], fresh], (at) => [at, ...Array(8).fill(null)]).slice(1);
    if (second[0] === last) this.rows.pop();
    for (const row of rows) this.series.forEach((series, place) => series.update(point(row[0], row[SERIES[place][1]])));
    this.rows.push(...rows);
    this.told();
  }

  told() {
    this.view.show(this.rows.length);
    this.mark();
    this.say();
  }

  mark() {
    const [first, last] = [this.rows[0]?.[0], this.rows.at(-1)?.[0]];
    if (first === undefined) return this.marker.setMarkers([]);
    this.marker.setMarkers(
      this.marks.map(([at, kind, words]) => ({
        time: Math.min(Math.max(at, first), last),
        position: kind === "BUY" ? "belowBar" : "aboveBar",
        shape: kind === "BUY" ? "arrowUp" : "arrowDown",
        color: colour(kind === "BUY" ? "--gain" : "--loss"),
        text: `${kind} ${words}`,
      })),
    );
  }

  say() {
    const row = (this.under && this.rows[this.under - this.rows[0]?.[0]]) || this.rows.findLast((one) => one[1] != null || one[2] != null);
    this.legend.say(row ? [clockText(row[0]), ...SERIES.map(([, column]) => dollars(row[column]))] : []);
  }
}
