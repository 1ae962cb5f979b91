// What is heard → a WAV file, faster than it plays.

import { makeMixer } from "./mixer.js";
import { makeStretcher } from "./stretch.js";
import { gainsOf } from "./levels.js";

/**
 * Render a mix of decoded stems.
 * @returns {Promise<AudioBuffer>} stereo, `end` - `start` seconds long at speed 1
 */
export async function renderMix(buffers, mix, { volume = 1, start = 0, end = buffers[0].duration, speed = 1 } = {}) {
  const { sampleRate } = buffers[0];
  const samples = Math.max(1, Math.round(((end - start) * sampleRate) / speed));
  const context = new OfflineAudioContext(2, samples, sampleRate);
  const mixer = makeMixer(context, buffers.length);
  mixer.apply(mix, volume);
  const sounds = speed === 1 ? buffers : stretched(context, buffers, mix, start, samples, speed);
  sounds.forEach((buffer, i) => {
    const node = new AudioBufferSourceNode(context, { buffer });
    node.connect(mixer.inputs[i]);
    node.start(0, speed === 1 ? start : 0);
  });
  return context.startRendering();
}

function stretched(context, buffers, mix, start, samples, speed) {
  const channels = buffers.map((b) => Array.from({ length: b.numberOfChannels }, (_, c) => b.getChannelData(c)));
  const gains = gainsOf(mix);
  const stretcher = makeStretcher(channels, context.sampleRate, () => gains);
  stretcher.start(Math.round(start * context.sampleRate), speed);
  const made = stretcher.next(Math.ceil(samples / stretcher.half));
  return made.map((stem) => {
    const buffer = context.createBuffer(stem.length, stem[0].length, context.sampleRate);
    stem.forEach((channel, c) => buffer.copyToChannel(channel, c));
    return buffer;
  });
}

/** A WAV of 16 bits. What would clip is turned down as a whole: `gain` is by how much. */
export function wavOf(buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c));
  let peak = 0;
  for (const samples of channels) for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  const gain = peak > 1 ? 1 / peak : 1;
  const bytes = buffer.length * channels.length * 2;
  const view = new DataView(new ArrayBuffer(44 + bytes));
  const letters = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, buffer.sampleRate, true);
  view.setUint32(28, buffer.sampleRate * channels.length * 2, true);
  view.setUint16(32, channels.length * 2, true);
  view.setUint16(34, 16, true);
  letters(36, "data");
  view.setUint32(40, bytes, true);
  let at = 44;
  for (let i = 0; i < buffer.length; i += 1) {
    for (const samples of channels) {
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(samples[i] * gain * 32768))), true);
      at += 2;
    }
  }
  return { blob: new Blob([view], { type: "audio/wav" }), gain };
}

/** Let the browser save a file. */
export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
