// Draws every chart in the reader's theme, and again when the window or the theme changes.
const plots = [...document.querySelectorAll(".plot")].map((box) => ({
  box,
  text: box.querySelector("script").textContent,
}));

function themed(layout, box) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), tickcolor: colour("--line") };
  return {
    ...layout,
    width: box.clientWidth,
    height: box.clientHeight,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: colour("--ink") },
    xaxis: { ...layout.xaxis, ...axis },
    yaxis: { ...layout.yaxis, ...axis },
  };
}

// Plotly compares data by identity: handed the arrays that it has drawn, it keeps what it has computed from them, of
// which nothing may be left where one drawing begins before another has ended; the axes then show -1 to 6 instead of
// the data. So every drawing gets a new copy of the figure, and begins after the last one has ended.
function draw() {
  return Promise.allSettled(plots.map(({ box, text }) => {
    const figure = JSON.parse(text);
    return Plotly.react(box, figure.data, themed(figure.layout, box), { displayModeBar: false });
  }));
}

let drawn = Promise.resolve(), waiting = false;

function redraw() {
  if (waiting) return;
  waiting = true;
  drawn = drawn.then(() => {
    waiting = false;
    return draw();
  });
}

redraw();
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
