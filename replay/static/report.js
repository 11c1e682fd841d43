// Draws the figures of a report: their data stand packed in the page, the library too. Nothing is loaded from elsewhere.

const NARROW = 640;
const GATES = 8;

const byId = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

async function unpacked(id) {
  const packed = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

// `1, 2, 5`: the conditions that hold at a second.
function holding(bits) {
  if (bits === null) return "nothing known";
  return Array.from({ length: GATES - 1 }, (_, place) => place + 1).filter((place) => (bits >> (place - 1)) & 1).join(", ") || "none";
}

// A figure's description with its colours ("--gain", "--price 0.15") and columns ("@close"; "@gates:3" is one condition, "@gates:all" names those that hold) put in.
function resolved(value, columns) {
  if (Array.isArray(value)) return value.map((one) => resolved(one, columns));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, resolved(one, columns)]));
  }
  if (typeof value !== "string") return value;
  if (value.startsWith("--")) {
    const [name, part] = value.split(" ");
    return colour(name) + (part ? Math.round(part * 255).toString(16).padStart(2, "0") : "");
  }
  if (!value.startsWith("@")) return value;
  const [name, place] = value.slice(1).split(":");
  if (place === "all") return columns[name].map(holding);
  return place ? columns[name].map((bits) => (bits !== null && (bits >> (place - 1)) & 1 ? GATES + 1 - place : null)) : columns[name];
}

function layout(figure, narrow) {
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"), tickfont: { color: colour("--quiet") } };
  const made = {
    height: narrow ? figure.narrow_height : figure.height,
    margin: narrow ? { l: 46, r: 8, t: 8, b: 34 } : { l: 64, r: 16, t: 8, b: 36 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: narrow ? 11 : 12.5, color: colour("--text") },
    hovermode: figure.x === "number" ? "closest" : "x unified",
    hoversubplots: "axis",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    dragmode: narrow ? false : "zoom",
    showlegend: figure.legend,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: colour("--accent") },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.01, yanchor: "bottom", traceorder: "normal", ...(narrow ? { entrywidth: 0.48, entrywidthmode: "fraction", font: { size: 10 } } : {}) },
    bargap: 0.05,
    barmode: "overlay",
    xaxis: { ...axis, type: figure.x === "number" ? "linear" : "date", anchor: `y${figure.panels.length > 1 ? figure.panels.length : ""}`,
      hoverformat: figure.x === "time" ? "%H:%M:%S" : undefined, title: { text: figure.x_title }, showspikes: figure.x !== "number", spikemode: "across",
      spikethickness: 1, spikedash: "solid", spikecolor: colour("--quiet"), nticks: narrow ? 5 : 14 },
    shapes: resolved(figure.shapes, {}),
  };
  const total = figure.panels.reduce((sum, panel) => sum + panel.share, 0);
  const gap = 0.045;
  let top = 1;
  figure.panels.forEach((panel, place) => {
    const bottom = Math.max(0, top - (panel.share / total) * (1 - gap * (figure.panels.length - 1)));
    made[`yaxis${place ? place + 1 : ""}`] = { ...axis, domain: [bottom, top], fixedrange: narrow, title: { text: narrow ? "" : panel.title, standoff: 6 }, ...panel.axis };
    top = bottom - gap;
  });
  return made;
}

let figures = [];

function draw() {
  const narrow = innerWidth <= NARROW;
  for (const figure of figures) {
    const traces = resolved(figure.traces, figure.columns);
    const options = { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover", modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]] };
    Plotly.react(byId(figure.name), traces, layout(figure, narrow), options);
  }
}

async function begin() {
  const library = document.createElement("script");
  library.textContent = await unpacked("library");
  document.head.append(library);
  figures = JSON.parse(await unpacked("figures"));
  draw();
  let width = innerWidth;
  addEventListener("resize", () => {
    if ((width <= NARROW) !== (innerWidth <= NARROW)) draw();
    width = innerWidth;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.documentElement.dataset.drawn = figures.length;
}

if (byId("figures")) begin();
