// Draws the figures of #mer-ray-figures in the page's own colours, again whenever the reader's light/dark preference changes.
(() => {
  const figures = JSON.parse(document.getElementById("mer-ray-figures").textContent);
  const plots = [...document.querySelectorAll("[data-figure]")];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(layout) {
    const title = (axis) => ({ ...axis.title, font: { size: 13 } });
    const axis = { color: colour("--muted"), gridcolor: colour("--line"), linecolor: colour("--line") };
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: colour("--sans"), size: 13, color: colour("--ink") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      dragmode: false,
      xaxis: { ...layout.xaxis, ...axis, title: title(layout.xaxis), fixedrange: true },
      yaxis: { ...layout.yaxis, ...axis, title: title(layout.yaxis), fixedrange: true },
    };
  }

  function draw(plot) {
    const { data, layout } = figures[plot.dataset.figure];
    return Plotly.react(plot, data, themed(layout), { responsive: true, displayModeBar: false });
  }

  async function drawAll() {
    for (const plot of plots) {
      await draw(plot);
      await new Promise((resume) => setTimeout(resume, 0)); // a long page stays responsive while it draws
    }
    document.documentElement.dataset.drawn = plots.length;
  }

  // Paper is light whatever the screen is; a print does not wait, so all figures are drawn at once.
  function drawFor(medium) {
    document.documentElement.dataset.medium = medium;
    plots.forEach(draw);
  }

  dark.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => drawFor("print"));
  window.addEventListener("afterprint", () => drawFor("screen"));
  drawAll();
})();
