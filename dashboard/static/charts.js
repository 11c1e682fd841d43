// The charts: columns of the session so far, and every new second after them.

const NAMES = ["t", "close", "vwap_60", "vwap_300", "volume", "volume_p95", "leader"];
const SYNC = "desk";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const newYork = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "America/New_York");

function axes(format, size = 62) {
  const look = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  return [
    { ...look, space: 60, values: (_, ticks) => ticks.map((at) => newYork(at).toTimeString().slice(0, 5)) },
    { ...look, size, space: 26, values: (_, ticks) => ticks.map(format) },
  ];
}

function line(label, name, width = 1.5, more = {}) {
  return { label, stroke: colour(name), width, points: { show: false }, ...more };
}

export class Charts {
  constructor(symbol, leader) {
    this.symbol = symbol;
    this.leader = leader;
    this.minutes = 30;
    this.columns = NAMES.map(() => []);
    this.marks = [];
    this.draw();
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth !== width) this.draw();
      width = innerWidth;
    });
  }

  // Columns from the second `from` on in the place of what was drawn there; points that are newer than they stay. With `to`, they
  // are those of another day, drawn up to that second.
  load(columns, from = -Infinity, to = null) {
    if (to !== null) {
      const seconds = columns.t.filter((at) => at <= to).length;
      this.columns = NAMES.map((name) => columns[name].slice(0, seconds));
      return this.update();
    }
    const came = NAMES.map((name) => columns[name]);
    const times = this.columns[0];
    const end = came[0].at(-1) ?? Infinity;
    const [kept, known] = [times.filter((at) => at < from).length, times.filter((at) => at <= end).length];
    this.columns = this.columns.map((old, index) => [...old.slice(0, kept), ...came[index], ...old.slice(known)]);
    this.update();
  }

  push(point) {
    const times = this.columns[0];
    if (times.length && point[0] <= times[times.length - 1]) return;
    point.forEach((value, index) => this.columns[index].push(value));
    this.update();
  }

  name(symbol, leader) {
    if (symbol === this.symbol && leader === this.leader) return;
    [this.symbol, this.leader] = [symbol, leader];
    this.draw();
  }

  mark(marks) {
    this.marks = marks;
    this.price.redraw(false);
  }

  show(minutes) {
    this.minutes = minutes;
    this.update();
  }

  draw() {
    for (const plot of [this.price, this.volume, this.compare]) if (plot) plot.destroy();
    const empty = (count) => Array.from({ length: count }, () => []);
    const dollars = (value) => value.toFixed(2);
    const tall = innerWidth >= 1000;
    this.price = this.plot("price", tall ? 380 : 240, dollars, empty(4), [
      line(this.symbol, "--price", 1.75),
      line("VWAP 1m", "--vwap"),
      line("VWAP 5m", "--trend"),
    ], { hooks: { draw: [(plot) => this.drawMarks(plot)] } });
    const shares = (value) => (value >= 1000 ? `${Math.round(value / 1000)}k` : `${value}`);
    this.volume = this.plot("volume", tall ? 160 : 120, shares, empty(3), [
      line("volume", "--volume", 1, { paths: uPlot.paths.bars({ size: [0.8, 8] }), fill: colour("--volume") }),
      line("95th percentile", "--trend", 1.5),
    ]);
    const percent = (value) => `${value.toFixed(2)}%`;
    this.compare = this.plot("leader", tall ? 160 : 120, percent, empty(3), [
      line(`${this.symbol} %`, "--price"),
      line(`${this.leader} %`, "--leader"),
    ]);
    this.update();
  }

  plot(id, height, format, data, series, more = {}) {
    const box = document.getElementById(id);
    box.replaceChildren();
    const options = {
      width: Math.max(box.clientWidth, 240),
      height,
      tzDate: newYork,
      cursor: { sync: { key: SYNC } },
      legend: { live: true },
      axes: axes(format),
      series: [{ value: (_, at) => (at == null ? "–" : newYork(at).toTimeString().slice(0, 8)) }, ...series],
      ...more,
    };
    return new uPlot(options, data, box);
  }

  update() {
    const times = this.columns[0];
    const last = times[times.length - 1];
    let from = 0;
    if (this.minutes && last) {
      const start = last - this.minutes * 60;
      from = times.findIndex((at) => at >= start);
    }
    const [t, close, vwap, trend, volume, p95, leader] = this.columns.map((column) => column.slice(from));
    this.price.setData([t, close, vwap, trend]);
    this.volume.setData([t, volume, p95]);
    this.compare.setData([t, changes(close), changes(leader)]);
  }

  drawMarks(plot) {
    const [times, closes] = plot.data;
    const { ctx } = plot;
    const size = 7 * devicePixelRatio;
    ctx.save();
    for (const [at, kind] of this.marks) {
      if (!times.length || at < times[0] || at > times[times.length - 1] + 5) continue;
      const index = plot.valToIdx(at);
      const buy = kind === "BUY";
      const x = plot.valToPos(at, "x", true);
      const y = plot.valToPos(closes[index], "y", true) + (buy ? 2.2 : -2.2) * size;
      ctx.fillStyle = colour(buy ? "--gain" : "--loss");
      ctx.beginPath();
      ctx.moveTo(x, y - (buy ? size : -size));
      ctx.lineTo(x - size, y + (buy ? size : -size));
      ctx.lineTo(x + size, y + (buy ? size : -size));
      ctx.fill();
      ctx.font = `${11 * devicePixelRatio}px system-ui`;
      ctx.textAlign = "center";
      ctx.fillText(kind, x, y + (buy ? 2.6 : -1.6) * size);
    }
    ctx.restore();
  }
}

function changes(prices) {
  const first = prices.find((price) => price != null);
  return prices.map((price) => (price == null ? null : 100 * (price / first - 1)));
}

export function drawEquity(box, curve, old) {
  if (old) old.destroy();
  box.replaceChildren();
  box.hidden = curve.length < 1;
  if (box.hidden) return null;
  const numbers = curve.map((_, index) => index + 1);
  const options = {
    width: Math.max(box.clientWidth, 240),
    height: 120,
    scales: { x: { time: false } },
    legend: { show: false },
    cursor: { show: false },
    axes: [{ ...axes(String)[0], values: null }, axes((value) => `$${value}`)[1]],
    series: [{}, line("lifetime", "--price", 2, { paths: uPlot.paths.stepped({ align: 1 }) })],
  };
  return new uPlot(options, [[0, ...numbers], [0, ...curve.map(([, balance]) => balance)]], box);
}
