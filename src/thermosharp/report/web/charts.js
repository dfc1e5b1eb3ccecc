// Charts as SVG, in the colours of the page.

const UNITS = {
  K: { name: "K", from: (kelvin) => kelvin, to: (value) => value },
  C: { name: "°C", from: (kelvin) => kelvin - 273.15, to: (value) => value + 273.15 },
  F: { name: "°F", from: (kelvin) => kelvin * 1.8 - 459.67, to: (value) => (value + 459.67) / 1.8 },
};

// Round numbers from low to high, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(n * step);
  return found.map((value) => Number(value.toPrecision(10)));
}

// Ticks of a temperature axis: round in the unit shown, placed in kelvin.
function unitTicks(low, high, unit, count) {
  return ticks(unit.from(low), unit.from(high), count).map((value) => [
    unit.to(value),
    String(Number(value.toFixed(2))),
  ]);
}

class Chart {
  constructor(svg, { x, y, xTicks, yTicks, xLabel, yLabel, logX = false, logY = false }) {
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    this.svg = svg;
    this.box = { left: 46, right: width - 12, top: yLabel ? 26 : 12, bottom: height - 36 };
    this.parts = [];
    const scale = (log) => (log ? Math.log : (value) => value);
    const place = ([low, high], from, to, map) => (value) =>
      from + ((map(value) - map(low)) / (map(high) - map(low))) * (to - from);
    this.x = place(x, this.box.left, this.box.right, scale(logX));
    this.y = place(y, this.box.bottom, this.box.top, scale(logY));
    this.axes(xTicks, yTicks, xLabel, yLabel);
  }

  axes(xTicks, yTicks, xLabel, yLabel) {
    const { left, right, top, bottom } = this.box;
    for (const [value, text] of yTicks) {
      const at = this.y(value).toFixed(1);
      this.parts.push(`<path class="axis" d="M${left} ${at}H${right}"/>`);
      this.text(left - 6, Number(at) + 4, text, "end");
    }
    for (const [value, text] of xTicks) {
      const at = this.x(value);
      this.parts.push(`<path class="axis" d="M${at.toFixed(1)} ${bottom}v4"/>`);
      this.text(at, bottom + 16, text, "middle");
    }
    this.parts.push(`<path class="axis" d="M${left} ${bottom}H${right}"/>`);
    this.text((left + right) / 2, bottom + 32, xLabel, "middle");
    if (yLabel) this.text(left - 40, top - 12, yLabel, "start");
  }

  text(x, y, words, anchor) {
    this.parts.push(
      `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped(words)}</text>`,
    );
  }

  // Points [x, y]; a y that is not a number interrupts the line.
  line(points, kind, step = false) {
    let path = "";
    let last = null;
    for (const [x, y] of points) {
      if (!Number.isFinite(y)) {
        last = null;
        continue;
      }
      const at = `${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`;
      if (last === null) path += `M${at}`;
      else path += step ? `H${this.x(x).toFixed(1)}V${this.y(y).toFixed(1)}` : `L${at}`;
      last = y;
    }
    if (path) this.parts.push(`<path class="line-${kind}" d="${path}"/>`);
  }

  // The area between two curves: points [x, low, high].
  band(points, kind) {
    const known = points.filter((point) => point.every(Number.isFinite));
    if (known.length < 2) return;
    const edge = (list, index) =>
      list.map((p) => `${this.x(p[0]).toFixed(1)} ${this.y(p[index]).toFixed(1)}`).join("L");
    const path = `M${edge(known, 2)}L${edge([...known].reverse(), 1)}Z`;
    this.parts.push(`<path class="fill-${kind}" d="${path}"/>`);
  }

  mark(x, words = "") {
    const { top, bottom } = this.box;
    const at = this.x(x);
    this.parts.push(`<path class="mark" d="M${at.toFixed(1)} ${top}V${bottom}"/>`);
    if (words) this.text(at - 5, top + 9, words, "end");
  }

  draw() {
    this.svg.innerHTML = this.parts.join("");
  }
}

function escaped(words) {
  return String(words).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function drawHistogram(svg, data, unit) {
  const top = 1.08 * Math.max(...data.observed, ...data.sharpened);
  const width = (data.high - data.low) / data.observed.length;
  const chart = new Chart(svg, {
    x: [data.low, data.high], y: [0, top],
    xTicks: unitTicks(data.low, data.high, unit, 5),
    yTicks: ticks(0, 100 * top, 4).map((percent) => [percent / 100, `${percent} %`]),
    xLabel: `temperature (${unit.name})`,
  });
  const steps = (shares) => shares.map((share, i) => [data.low + (i + 0.5) * width, share]);
  chart.band(steps(data.sharpened).map(([x, y]) => [x, 0, y]), "sharpened");
  chart.line(steps(data.sharpened), "sharpened");
  chart.line(steps(data.observed), "observed");
  chart.draw();
}

function drawScatter(svg, data, unit) {
  const range = [data.low, data.high];
  const at = unitTicks(...range, unit, 5);
  const chart = new Chart(svg, {
    x: range, y: range, xTicks: at, yTicks: at,
    xLabel: `observed (${unit.name})`, yLabel: `sharpened (${unit.name})`,
  });
  const cell = (data.high - data.low) / data.cells_a_side;
  const most = Math.log1p(Math.max(...data.cells.map((part) => part[2])));
  const [wide, tall] = [chart.x(cell) - chart.x(0), chart.y(0) - chart.y(cell)];
  for (const [column, row, count] of data.cells) {
    const [x, y] = [chart.x(data.low + column * cell), chart.y(data.low + (row + 1) * cell)];
    const strength = (0.12 + (0.88 * Math.log1p(count)) / most).toFixed(2);
    chart.parts.push(
      `<rect class="cell" x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${wide.toFixed(1)}" ` +
        `height="${tall.toFixed(1)}" fill-opacity="${strength}"/>`,
    );
  }
  chart.parts.push(
    `<path class="mark" d="M${chart.x(data.low)} ${chart.y(data.low)}L${chart.x(data.high)} ${chart.y(data.high)}"/>`,
  );
  chart.draw();
}

function drawSpectrum(svg, data, coarse) {
  const sizes = data.wavelength;
  const known = [...data.observed, ...data.sharpened].filter((value) => value > 0);
  const top = 10 ** Math.ceil(Math.log10(Math.max(...known)));
  const bottom = Math.max(10 ** Math.floor(Math.log10(Math.min(...known))), top / 1e7);
  const decades = [];
  for (let power = Math.round(Math.log10(bottom)); power <= Math.round(Math.log10(top)); power++)
    decades.push(power);
  const every = Math.ceil(decades.length / 5);
  const range = [sizes[0], sizes[sizes.length - 1]];
  const round = [50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000];
  const chart = new Chart(svg, {
    x: range, y: [bottom, top], logX: true, logY: true,
    xTicks: round
      .filter((size) => size <= range[0] && size >= range[1])
      .map((size) => [size, size >= 1000 ? `${size / 1000} km` : `${size} m`]),
    yTicks: decades.filter((_, i) => i % every === 0).map((power) => [10 ** power, superscript(power)]),
    xLabel: "size of what varies", yLabel: "variance density (K²)",
  });
  const limit = 2 * coarse;
  if (limit < range[0] && limit > range[1]) chart.mark(limit, "unseen by the satellite →");
  const clipped = (values) => values.map((value, i) => [sizes[i], value > 0 ? Math.max(value, bottom) : NaN]);
  chart.line(clipped(data.observed), "observed");
  chart.line(clipped(data.sharpened), "sharpened");
  chart.draw();
}

function superscript(power) {
  const signs = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const digits = [...String(Math.abs(power))].map((digit) => signs[digit]).join("");
  return `10${power < 0 ? "⁻" : ""}${digits}`;
}
