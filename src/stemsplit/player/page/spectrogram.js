// Spectrograms of decoded stems, drawn when somebody asks for them.

import { fitted, colour } from "./canvas.js";

const SIZE = 2048; // samples of a window
const LOW = 40; // Hz, at the bottom
const HIGH = 16000; // Hz, at the top
const DEEP = -75; // dB below the loudest, which is not seen any more
const SLICE_MS = 24; // work at a stretch, so that the page stays awake

const TURNS = Float64Array.from({ length: SIZE / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / SIZE));
const HEIGHTS = Float64Array.from({ length: SIZE / 2 }, (_, k) => -Math.sin((2 * Math.PI * k) / SIZE));

/** Fourier transform in place, radix 2, of `SIZE` complex numbers. */
export function fourier(re, im) {
  for (let i = 1, j = 0; i < SIZE; i += 1) {
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= SIZE; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k += 1) {
      const [c, s] = [TURNS[(k * SIZE) / size], HEIGHTS[(k * SIZE) / size]];
      for (let i = k; i < SIZE; i += size) {
        const j = i + half;
        const x = re[j] * c - im[j] * s;
        const y = re[j] * s + im[j] * c;
        re[j] = re[i] - x;
        im[j] = im[i] - y;
        re[i] += x;
        im[i] += y;
      }
    }
  }
}

/** Power in dB of `bands` bands, low to high, around a sample. */
function bandsAt(channels, centre, edges, window, re, im) {
  im.fill(0);
  for (let i = 0; i < SIZE; i += 1) {
    let sum = 0;
    for (const samples of channels) sum += samples[centre - SIZE / 2 + i] ?? 0;
    re[i] = sum * window[i];
  }
  fourier(re, im);
  const power = (bin) => re[bin] * re[bin] + im[bin] * im[bin];
  return edges.slice(0, -1).map((edge, band) => {
    const first = Math.round(edge);
    const last = Math.max(first + 1, Math.round(edges[band + 1]));
    let most = 1e-12;
    for (let bin = first; bin < last; bin += 1) most = Math.max(most, power(bin));
    return 10 * Math.log10(most);
  });
}

/** Draw the spectrogram of a decoded stem, a slice at a time; it stops when `wanted()` says no. */
export async function drawSpectrogram(canvas, buffer, wanted) {
  const { context, width, height } = fitted(canvas);
  const rows = Math.max(8, Math.round(height));
  const columns = Math.max(1, Math.round(width));
  const rate = buffer.sampleRate;
  const high = Math.min(HIGH, rate / 2);
  const edges = Array.from({ length: rows + 1 }, (_, i) => (LOW * (high / LOW) ** (i / rows) * SIZE) / rate);
  const window = Float32Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE));
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c));
  const [re, im] = [new Float64Array(SIZE), new Float64Array(SIZE)];
  const loudest = 20 * Math.log10((SIZE / 4) * channels.length);
  const picture = new OffscreenCanvas(columns, rows);
  const paint = picture.getContext("2d");
  const column = paint.createImageData(1, rows);
  const [red, green, blue] = channelsOf(colour(canvas, "--stem"));
  let since = performance.now();
  for (let x = 0; x < columns; x += 1) {
    const decibels = bandsAt(channels, Math.round(((x + 0.5) / columns) * buffer.length), edges, window, re, im);
    decibels.forEach((level, row) => {
      const strength = Math.min(1, Math.max(0, 1 - (level - loudest) / DEEP)) ** 1.6;
      column.data.set([red, green, blue, Math.round(255 * strength)], 4 * (rows - 1 - row));
    });
    paint.putImageData(column, x, 0);
    if (performance.now() - since > SLICE_MS || x === columns - 1) {
      context.clearRect(0, 0, width, height);
      context.drawImage(picture, 0, 0, width, height);
      await new Promise((go) => setTimeout(go));
      if (!wanted()) return;
      since = performance.now();
    }
  }
}

/** "#ff7aa8" → [255, 122, 168]. */
function channelsOf(text) {
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}
