// The page: one scene at a time in the viewer, its words and charts below.

const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
const DATA = JSON.parse(find("#data").textContent);
const TABLES = Object.fromEntries(Object.entries(DATA.colours).map(([k, v]) => [k, colourTable(v)]));
const state = { scene: 0, layer: "sharp", colours: "inferno", scale: "scene", unit: "C", at: null };
const layersOf = new Map();
let map = null;

const unit = () => UNITS[state.unit];
const scene = () => DATA.scenes[state.scene];
const checked = (name) => find(`input[name=${name}]:checked`).value;

// All layers of a scene, unpacked once. Those of one scene at a time are kept.
async function layers(index) {
  if (layersOf.has(index)) return layersOf.get(index);
  const { grid, layers: packed } = DATA.scenes[index];
  const unpacking = Object.entries(packed).map(async ([name, how]) => {
    const text = find(`#pack-${index}-${name}`).textContent;
    return [name, await unpack(text, { ...grid, ...how })];
  });
  const ready = Object.fromEntries(await Promise.all(unpacking));
  if (layersOf.size >= 3) layersOf.delete(layersOf.keys().next().value);
  layersOf.set(index, ready);
  return ready;
}

function look() {
  const temperature = state.layer === "sharp";
  const { limits } = scene();
  return {
    table: temperature ? state.colours : state.layer === "residual" ? "RdBu_r" : "viridis",
    limits: temperature ? limits[state.scale] : limits[state.layer],
  };
}

async function showMap() {
  const index = state.scene;
  const data = await layers(index);
  if (index !== state.scene) return;
  const { grid } = scene();
  const { table, limits } = look();
  const paint = (name) => painted(data[name], grid.width, grid.height, limits, TABLES[table]);
  const swipe = state.layer === "sharp";
  map.show(grid, swipe ? paint("observed") : null, paint(state.layer));
  find(".wait").hidden = true;
  if (!state.at) map.lookAt(middle(data.sharp, grid));
  find(".tag.left").hidden = !swipe;
  find(".tag.left").textContent = `observed · ${scene().coarse} m`;
  find(".tag.right").textContent = {
    sharp: `sharpened · ${scene().fine} m`,
    uncertainty: "uncertainty (standard deviation)",
    residual: "observed minus predicted",
  }[state.layer];
  legend(TABLES[table], limits);
  readOut();
  document.documentElement.dataset.shown = `${index}-${state.layer}`;
}

// A known pixel right of the middle, beside the handle: something to read before anyone points.
function middle(values, { width, height }) {
  const [row, column] = [height >> 1, Math.floor(0.62 * width)];
  for (let away = 0; away < width; away++)
    for (const at of [column - away, column + away])
      if (at >= 0 && at < width && Number.isFinite(values[row * width + at])) return { column: at, row };
  return { column, row };
}

function legend(table, [low, high]) {
  const stops = Array.from({ length: 33 }, (_, i) => {
    const at = 3 * Math.round((255 * i) / 32);
    return `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
  });
  find(".ramp").style.background = `linear-gradient(90deg, ${stops.join(",")})`;
  const temperature = state.layer === "sharp";
  const shown = temperature ? unit() : UNITS.K;
  const words = {
    sharp: "land surface temperature",
    uncertainty: "standard deviation of the sharpened temperature",
    residual: "observed minus predicted, before the area means were restored",
  }[state.layer];
  find(".legend p").textContent = `${words} (${shown.name})`;
  const marks = unitTicks(low, high, shown, find(".ramp").clientWidth > 500 ? 9 : 5);
  find(".ticks").innerHTML = marks
    .map(([value, text]) => `<span style="left:${(100 * (value - low)) / (high - low)}%">${text}</span>`)
    .join("");
}

const digits = (value, places) => (Number.isFinite(value) ? value.toFixed(places) : "–");
const inUnits = (kelvin) =>
  Object.values(UNITS).map(({ from, name }) => `${digits(from(kelvin), 1)} ${name}`);

function readOut() {
  const data = layersOf.get(state.scene);
  const { grid } = scene();
  const at = state.at && state.at.column < grid.width && state.at.row < grid.height ? state.at : null;
  const value = (name) =>
    at && data && data[name] ? data[name][at.row * grid.width + at.column] : NaN;
  for (const name of ["observed", "sharp"]) {
    const kelvin = value(name);
    const box = find(`#read-${name}`);
    find(".value", box).innerHTML = `${digits(unit().from(kelvin), 1)} <small>${unit().name}</small>`;
    find(".others", box).textContent = inUnits(kelvin).join("  ·  ");
  }
  const signed = (number) => (number >= 0 ? "+" : "−") + digits(Math.abs(number), 2);
  find("#read-uncertainty").textContent = `± ${digits(value("uncertainty"), 2)} K`;
  const residual = value("residual");
  find("#read-residual").textContent = Number.isFinite(residual) ? `${signed(residual)} K` : "– K";
  find("#read-place").textContent = at ? place(at) : "–";
}

// Longitude and latitude of a pixel's centre, from those of the corners.
function place({ column, row }) {
  const { width, height, corners } = scene().grid;
  const [x, y] = [(column + 0.5) / width, (row + 0.5) / height];
  const between = (axis) =>
    (corners[0][axis] * (1 - x) + corners[1][axis] * x) * (1 - y) +
    (corners[2][axis] * (1 - x) + corners[3][axis] * x) * y;
  const [lon, lat] = [between(0), between(1)];
  return `${Math.abs(lat).toFixed(4)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(4)}° ${lon < 0 ? "W" : "E"}`;
}

function drawProfile(data, at) {
  if (!data) return;
  const { grid } = scene();
  const [from] = map.toPixel(0, 0).map((edge) => Math.max(Math.floor(edge), 0));
  const to = Math.min(Math.ceil(map.toPixel(map.size[0], 0)[0]), grid.width);
  const row = at ? at.row : Math.min(Math.max(Math.floor(map.centre[1]), 0), grid.height - 1);
  const start = row * grid.width;
  const km = (column) => (column * grid.metres[0]) / 1000;
  const values = [];
  for (const name of ["observed", "sharp"])
    for (let i = from; i < to; i++) if (Number.isFinite(data[name][start + i])) values.push(data[name][start + i]);
  const svg = find("#profile");
  const wide = Math.max(svg.clientWidth, 280);
  svg.setAttribute("viewBox", `0 0 ${wide} 170`);
  if (values.length < 2) {
    svg.innerHTML = `<text x="${wide / 2}" y="80" text-anchor="middle">no temperature along this line</text>`;
    return;
  }
  const [least, most] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const range = [least - 0.5, most + 0.5];
  const chart = new Chart(svg, {
    x: [km(from), km(to)], y: range,
    xTicks: ticks(km(from), km(to), wide / 110).map((value) => [value, String(value)]),
    yTicks: unitTicks(...range, unit(), 4),
    xLabel: "km from the left rim of the map", yLabel: unit().name,
  });
  const curve = (name) =>
    Array.from({ length: to - from }, (_, i) => [km(from + i + 0.5), data[name][start + from + i]]);
  chart.line(curve("observed"), "observed", true);
  chart.line(curve("sharp"), "sharpened");
  if (at) chart.mark(km(at.column + 0.5));
  chart.draw();
}

function drawCharts() {
  const article = find(`#scene-${state.scene}`);
  const { histogram, scatter, spectrum, coarse } = scene();
  if (histogram) drawHistogram(find(".histogram", article), histogram, unit());
  if (scatter) drawScatter(find(".scatter", article), scatter, unit());
  if (spectrum) drawSpectrum(find(".spectrum", article), spectrum, coarse);
}

function choose(index) {
  state.scene = index;
  state.at = null;
  findAll("article").forEach((article, i) => (article.hidden = i !== index));
  findAll("tr[data-scene]").forEach((row) => {
    if (Number(row.dataset.scene) === index) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  });
  find("#title").textContent = scene().title;
  find("#subtitle").textContent = scene().subtitle;
  find("#facts").innerHTML = scene().facts
    .map(([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`)
    .join("");
  const uncertain = find("input[value=uncertainty]");
  uncertain.disabled = !scene().layers.uncertainty;
  if (uncertain.disabled && state.layer === "uncertainty") {
    find("input[value=sharp]").checked = true;
    state.layer = "sharp";
  }
  drawCharts();
  return showMap();
}

// Sort by a column, by numbers where cells give them; again turns the order round.
function sortBy(header) {
  const index = [...header.parentNode.children].indexOf(header);
  const up = header.getAttribute("aria-sort") !== "ascending";
  findAll("th[aria-sort]", header.parentNode).forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  const body = find("tbody", header.closest("table"));
  const key = (row) => row.children[index].dataset.sort ?? row.children[index].textContent.trim();
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    return up ? order : -order;
  };
  body.append(...[...body.children].sort((a, b) => compare(key(a), key(b))));
}

function start() {
  findAll("thead button").forEach((button) => {
    button.addEventListener("click", () => sortBy(button.closest("th")));
  });
  if (!DATA.scenes.length) return;
  const said = find("#said");
  map = new SwipeMap(find(".stage"), (at) => {
    state.at = at;
    readOut();
    if (map.byKeys)
      said.textContent = `sharpened ${find("#read-sharp .others").textContent}, ${find("#read-place").textContent}`;
  });
  map.onView = () => drawProfile(layersOf.get(state.scene), state.at);
  findAll("tr[data-scene] button").forEach((button) => {
    button.addEventListener("click", () => {
      choose(Number(button.closest("tr").dataset.scene));
      find("#title").scrollIntoView({ block: "nearest" });
    });
  });
  findAll("input[name=layer]").forEach((input) => {
    input.addEventListener("change", () => ((state.layer = checked("layer")), showMap()));
  });
  for (const name of ["colours", "scale", "unit"]) {
    const select = find(`#${name}`);
    select?.addEventListener("change", () => {
      state[name] = select.value;
      if (name === "unit") drawCharts();
      showMap();
    });
  }
  for (const [name, step] of [["#previous", -1], ["#next", 1]]) {
    const count = DATA.scenes.length;
    find(name)?.addEventListener("click", () => choose((state.scene + step + count) % count));
  }
  find("#closer").addEventListener("click", () => map.zoomBy(1.6));
  find("#farther").addEventListener("click", () => map.zoomBy(1 / 1.6));
  find("#whole").addEventListener("click", () => map.fit());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => map.draw());
  choose(DATA.first);
}

start();
