// A map of two layers under one swipe: zoom, pan, and the pixel under the pointer.

class SwipeMap {
  constructor(stage, onLook) {
    this.stage = stage;
    this.canvas = stage.querySelector("canvas");
    this.handle = stage.querySelector(".handle");
    this.bar = stage.querySelector(".scalebar");
    this.onLook = onLook;
    this.onView = () => {};
    this.split = 0.5;
    this.mark = null;
    this.byKeys = false;
    this.left = this.right = this.grid = null;
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.canvas);
  }

  // A scene of another place starts as a whole; one of the same place stays where one looks.
  show(grid, left, right) {
    const moved = !this.grid || this.grid.place !== grid.place;
    this.grid = grid;
    this.left = left;
    this.right = right;
    this.handle.hidden = !left;
    this.sharpen();
    if (moved) this.fill();
    else this.draw();
  }

  get size() {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }

  // Screen pixels of one raster pixel, across and down.
  get pixel() {
    return [this.zoom, (this.zoom * this.grid.metres[1]) / this.grid.metres[0]];
  }

  fitting() {
    const [width, height] = this.size;
    const { width: columns, height: rows, metres } = this.grid;
    return Math.min(width / columns, height / ((rows * metres[1]) / metres[0]));
  }

  fit() {
    this.zoom = this.fitting();
    this.centre = [this.grid.width / 2, this.grid.height / 2];
    this.settle();
  }

  // As a picture fills its frame, unless too much of it would be cut off.
  fill() {
    this.fit();
    const [width, height] = this.size;
    const [across, down] = this.pixel;
    const spare = Math.max(width / (across * this.grid.width), height / (down * this.grid.height));
    if (spare > 1 && spare < 2.2) this.zoomBy(spare);
  }

  // As many pixels as the screen has.
  sharpen() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = this.size.map((length) => Math.round(length * ratio));
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
  }

  resized() {
    this.sharpen();
    if (this.grid) this.settle();
  }

  // Keep the view on the map, then draw it.
  settle() {
    const least = this.fitting();
    this.zoom = Math.min(Math.max(this.zoom, least), Math.max(48, least));
    const [width, height] = this.size;
    const [across, down] = this.pixel;
    const spans = [width / across, height / down];
    [this.grid.width, this.grid.height].forEach((length, axis) => {
      const half = spans[axis] / 2;
      this.centre[axis] =
        spans[axis] >= length
          ? length / 2
          : Math.min(Math.max(this.centre[axis], half), length - half);
    });
    this.stage.classList.toggle("zoomed", this.zoom > least * 1.001);
    this.draw();
  }

  toPixel(x, y) {
    const [width, height] = this.size;
    const [across, down] = this.pixel;
    return [(x - width / 2) / across + this.centre[0], (y - height / 2) / down + this.centre[1]];
  }

  zoomBy(factor, x = this.size[0] / 2, y = this.size[1] / 2) {
    const before = this.toPixel(x, y);
    this.zoom = Math.min(Math.max(this.zoom * factor, this.fitting()), 48);
    const after = this.toPixel(x, y);
    this.centre = this.centre.map((at, axis) => at + before[axis] - after[axis]);
    this.settle();
  }

  panBy(x, y) {
    const [across, down] = this.pixel;
    this.centre = [this.centre[0] - x / across, this.centre[1] - y / down];
    this.settle();
  }

  setSplit(share) {
    this.split = Math.min(Math.max(share, 0), 1);
    this.draw();
  }

  draw() {
    if (!this.grid || !this.right) return;
    const context = this.canvas.getContext("2d");
    const ratio = this.canvas.width / this.size[0] || 1;
    const [width, height] = this.size;
    const [across, down] = this.pixel;
    const [left, top] = [width / 2 - this.centre[0] * across, height / 2 - this.centre[1] * down];
    const part = (image, from, to) => {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      context.drawImage(image, left, top, image.width * across, image.height * down);
      context.restore();
    };
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = across * ratio < 1;
    context.imageSmoothingQuality = "high";
    context.fillStyle = this.hatch(context);
    context.fillRect(left, top, this.grid.width * across, this.grid.height * down);
    const at = this.left ? this.split * width : 0;
    if (this.left) part(this.left, 0, at);
    part(this.right, at, width);
    if (this.mark) {
      this.ring(context, left + (this.mark.column + 0.5) * across, top + (this.mark.row + 0.5) * down);
    }
    const percent = Math.round(100 * this.split);
    this.handle.style.left = `${100 * this.split}%`;
    this.handle.setAttribute("aria-valuenow", percent);
    this.handle.setAttribute("aria-valuetext", `${percent} percent observed, the rest sharpened`);
    this.drawScale(across);
    this.onView();
  }

  ring(context, x, y) {
    for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
      context.beginPath();
      context.arc(x, y, 9, 0, 2 * Math.PI);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }

  // What shows where nothing is known.
  hatch(context) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const style = getComputedStyle(this.stage);
    const pen = tile.getContext("2d");
    pen.fillStyle = style.getPropertyValue("--hatch");
    pen.fillRect(0, 0, 8, 8);
    pen.strokeStyle = style.getPropertyValue("--hatch-line");
    for (const shift of [-8, 0, 8]) {
      pen.moveTo(shift, 8);
      pen.lineTo(shift + 8, 0);
    }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }

  drawScale(across) {
    const metres = this.grid.metres[0] / across;
    const longest = 130 * metres;
    const power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].map((n) => n * power).find((n) => n <= longest);
    this.bar.firstChild.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
    this.bar.lastChild.style.width = `${length / metres}px`;
  }

  look(x, y) {
    if (!this.grid) return;
    const [column, row] = this.toPixel(x, y).map(Math.floor);
    const inside = column >= 0 && row >= 0 && column < this.grid.width && row < this.grid.height;
    this.lookAt(inside ? { column, row } : null);
  }

  lookAt(pixel) {
    this.mark = pixel;
    this.draw();
    this.onLook(pixel);
  }

  listen() {
    const { canvas, handle } = this;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      this.look(...at(event));
    });
    canvas.addEventListener("pointermove", (event) => this.moved(event, at(event)));
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * 0.0016), ...at(event));
      this.look(...at(event));
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => this.zoomBy(2, ...at(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
    handle.addEventListener("pointermove", (event) => {
      if (handle.hasPointerCapture(event.pointerId)) this.setSplit(at(event)[0] / this.size[0]);
    });
    handle.addEventListener("keydown", (event) => this.slide(event));
  }

  moved(event, now) {
    const before = this.pointers.get(event.pointerId);
    this.byKeys = false;
    if (before && this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map((p) => p[1]);
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      this.zoomBy(apart(now) / apart(before), ...middle);
    } else if (before) {
      this.panBy(now[0] - before[0], now[1] - before[1]);
    }
    if (before) this.pointers.set(event.pointerId, now);
    this.look(...now);
  }

  // Arrow keys move the map under a ring in its middle; plus, minus and 0 zoom.
  key(event) {
    const step = event.shiftKey ? 120 : 24;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) this.panBy(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.5);
    else if (event.key === "-") this.zoomBy(1 / 1.5);
    else if (event.key === "0") this.fit();
    else return;
    event.preventDefault();
    this.byKeys = true;
    const [width, height] = this.size;
    this.look(width / 2, height / 2);
  }

  slide(event) {
    const step = event.shiftKey ? 0.1 : 0.02;
    const goals = {
      ArrowLeft: this.split - step, ArrowDown: this.split - step,
      ArrowRight: this.split + step, ArrowUp: this.split + step, Home: 0, End: 1,
    };
    if (!(event.key in goals)) return;
    event.preventDefault();
    this.setSplit(goals[event.key]);
  }
}
