// Waveforms out of the peaks that were measured when the page was written.

import { fitted, colour } from "./canvas.js";
import { bytesOf } from "./data.js";

/** Levels of a stem from 0 to 1: the largest and the mean of each of n equal parts of the song. */
export function levelsOf(text) {
  const bytes = bytesOf(text);
  const of = (offset) => Float32Array.from({ length: bytes.length / 2 }, (_, i) => (bytes[2 * i + offset] / 255) ** 2);
  return { peak: of(0), mean: of(1) };
}

/** Draw a waveform. `full` is the level that fills the height. */
export function drawWaveform(canvas, { peak, mean }, full) {
  const { context, width, height } = fitted(canvas);
  context.fillStyle = colour(canvas, "--stem");
  const columns = Math.max(1, Math.round(width));
  const middle = height / 2;
  const scale = (middle - 2) / Math.max(full, 1e-6);
  const shape = (values, pool, alpha) => {
    context.globalAlpha = alpha;
    for (let x = 0; x < columns; x += 1) {
      const start = Math.floor((x * values.length) / columns);
      const end = Math.max(start + 1, Math.floor(((x + 1) * values.length) / columns));
      const tall = Math.max(0.5, pool(values.subarray(start, end)) * scale);
      context.fillRect(x, middle - tall, 1, 2 * tall);
    }
  };
  shape(peak, (some) => Math.max(...some), 0.45);
  shape(mean, (some) => some.reduce((sum, value) => sum + value, 0) / some.length, 1);
}

/** Times below the waveforms: as many labels as have room. */
export function drawRuler(canvas, duration, label) {
  const { context, width, height } = fitted(canvas);
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
  const step = steps.find((seconds) => (seconds / duration) * width >= 64) ?? 7200;
  context.fillStyle = colour(canvas, "--soft");
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (let i = 0; i * step < duration; i += 1) {
    const x = ((i * step) / duration) * width;
    context.fillRect(x, height - 6, 1, 6);
    if (x + 36 < width) context.fillText(label(i * step), x + 4, height / 2);
  }
}
