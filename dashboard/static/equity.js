// What all trades have made together, trade by trade.

import { colour, dress, newChart } from "/chart.js";
import { BaselineSeries, LineType } from "/lightweight-charts.js";

const dollars = (value) => `${value < 0 ? "-" : ""}$${Math.abs(value).toFixed(0)}`;
const day = new Intl.DateTimeFormat("en-GB", { timeZone: "America/New_York", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export class Equity {
  constructor(box) {
    this.box = box;
    this.chart = null;
    this.key = "";
  }

  show(curve) {
    const key = JSON.stringify(curve);
    this.box.hidden = !curve.length;
    if (key === this.key || !curve.length) return;
    this.key = key;
    this.chart ??= this.begin();
    let last = 0;
    const points = curve.map(([at, value]) => {
      last = Math.max(at, last + 1);
      return { time: last, value };
    });
    this.series.setData([{ time: points[0].time - 1, value: 0 }, ...points]);
    this.chart.timeScale().fitContent();
  }

  begin() {
    const at = (seconds) => day.format(seconds * 1000);
    const chart = newChart(this.box, { handleScroll: false, handleScale: false });
    chart.applyOptions({ localization: { timeFormatter: at }, timeScale: { tickMarkFormatter: (seconds) => at(seconds).split(",")[0], fixLeftEdge: true } });
    this.series = chart.addSeries(BaselineSeries, {
      baseValue: { type: "price", price: 0 },
      lineWidth: 2,
      lineType: LineType.WithSteps,
      priceLineVisible: false,
      priceFormat: { type: "custom", formatter: dollars, minMove: 1 },
    });
    this.chart = chart;
    this.dress();
    return chart;
  }

  dress() {
    if (!this.chart) return;
    dress(this.chart);
    const [gain, loss] = [colour("--gain"), colour("--loss")];
    this.series.applyOptions({
      topLineColor: gain, topFillColor1: `${gain}44`, topFillColor2: `${gain}11`,
      bottomLineColor: loss, bottomFillColor1: `${loss}11`, bottomFillColor2: `${loss}44`,
    });
  }
}
