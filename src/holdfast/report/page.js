// Draws every chart in the reader's theme, and again when the theme changes.
const plots = [...document.querySelectorAll(".plot")].map((box) => {
  const figure = JSON.parse(box.querySelector("script").textContent);
  return { box, figure };
});

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

function draw() {
  for (const { box, figure } of plots) {
    Plotly.react(box, figure.data, themed(figure.layout, box), { displayModeBar: false });
  }
}

draw();
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
