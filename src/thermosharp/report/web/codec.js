// Rasters as they lie in the page: base64, deflate, differences from pixel to pixel.

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Float32Array of width x height values, NaN where missing.
async function unpack(base64, { width, height, zero, step }) {
  const raw = await inflate(base64);
  const size = width * height;
  const values = new Float32Array(size);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0, code = 0; column < width; column++, at++) {
      const zigzag = raw[at] | (raw[size + at] << 8);
      code = (code + ((zigzag >> 1) ^ -(zigzag & 1))) & 0xffff;
      values[at] = code ? zero + (code - 1) * step : NaN;
    }
  }
  return values;
}

// 256 colours, three bytes each.
function colourTable(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

// The layer in colours, one canvas pixel a value; transparent where missing.
function painted(values, width, height, [low, high], table) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = image.data;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value !== value) continue;
    const share = Math.min(Math.max((value - low) / (high - low), 0), 1);
    const colour = 3 * Math.round(255 * share);
    pixels[4 * i] = table[colour];
    pixels[4 * i + 1] = table[colour + 1];
    pixels[4 * i + 2] = table[colour + 2];
    pixels[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
