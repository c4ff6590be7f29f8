// What every chart shows, in pixels of the window: the plotting area, the labels of its ticks and its curves.
(() => {
  const middle = (element, across) => {
    const box = element.getBoundingClientRect();
    return across ? (box.left + box.right) / 2 : (box.top + box.bottom) / 2;
  };
  // digits between powers of ten are written smaller than the others
  const ticks = (box, axis) => [...box.querySelectorAll(`.${axis}tick text`)].map((label) => ({
    text: label.dataset.unformatted,
    at: middle(label, axis === "x"),
    small: parseFloat(label.style.fontSize) < 12,
  }));
  const points = (line) => {
    const to = line.getScreenCTM(), path = line.getAttribute("d") || "";
    return [...path.matchAll(/(-?[\d.]+(?:e-?\d+)?),(-?[\d.]+(?:e-?\d+)?)/g)].map(([, x, y]) => {
      const point = new DOMPoint(+x, +y).matrixTransform(to);
      return [point.x, point.y];
    });
  };
  return [...document.querySelectorAll(".plot")].map((box) => {
    const area = box.querySelector(".nsewdrag").getBoundingClientRect();
    return {
      area: { x: [area.left, area.right], y: [area.bottom, area.top] },
      size: box.getBoundingClientRect().width,
      svg: box.querySelector(".main-svg").getBoundingClientRect().width,
      ink: getComputedStyle(box.querySelector(".xtitle")).fill,
      ticks: { x: ticks(box, "x"), y: ticks(box, "y") },
      curves: [...box.querySelectorAll(".scatterlayer .trace")].flatMap((trace) =>
        [...trace.querySelectorAll(".js-line")].map(points)),
    };
  });
})()
