// The sung pitch and its notes, over the waveform of the voice.

import { fitted, colour } from "./canvas.js";
import { bytesOf } from "./data.js";

const NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];

/** The melody of the page: pitches in semitones (NaN where nobody sings) every `step` seconds, and notes. */
export function melodyOf({ pitch, low, unit, step, shift, notes }) {
  const pitches = Float32Array.from(bytesOf(pitch), (level) => (level ? low + (level - 1) * unit : NaN));
  const list = [];
  let onset = 0;
  for (let i = 0; i + 2 < notes.length; i += 3) {
    onset += notes[i];
    list.push({ onset: onset / 100, end: (onset + notes[i + 1]) / 100, midi: notes[i + 2] + shift });
  }
  return { pitches, step, notes: list };
}

/** 60 → C4. */
export function noteName(midi) {
  return `${NAMES[((midi % 12) + 12) % 12]}${Math.floor(midi / 12) - 1}`;
}

/** Draw notes as bars and the pitch as a line, with a line at every C. */
export function drawMelody(canvas, { pitches, step, notes }, duration) {
  const { context, width, height } = fitted(canvas);
  const sung = pitches.filter((pitch) => !Number.isNaN(pitch));
  if (!sung.length) return;
  const least = sung.reduce((a, b) => Math.min(a, b)) - 1.5;
  const most = sung.reduce((a, b) => Math.max(a, b)) + 1.5;
  const y = (pitch) => height - 4 - ((pitch - least) / (most - least)) * (height - 8);
  const x = (seconds) => (seconds / duration) * width;
  const ink = colour(canvas, "--ink");
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = ink;
  for (let octave = Math.ceil(least / 12) * 12; octave <= most; octave += 12) {
    context.globalAlpha = 0.16;
    context.fillRect(0, Math.round(y(octave)), width, 1);
    context.globalAlpha = 0.75;
    context.fillText(noteName(octave), 4, y(octave) - 3);
  }
  const tall = Math.max(3, ((height - 8) / (most - least)) * 0.9);
  context.fillStyle = colour(canvas, "--stem");
  context.globalAlpha = 0.5;
  for (const note of notes) {
    const end = Math.max(x(note.onset) + 1, x(note.end) - 1);
    context.beginPath();
    context.roundRect(x(note.onset), y(note.midi) - tall / 2, end - x(note.onset), tall, 2);
    context.fill();
  }
  context.globalAlpha = 1;
  context.strokeStyle = ink;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.beginPath();
  pitches.forEach((pitch, i) => {
    if (Number.isNaN(pitch)) return;
    if (Number.isNaN(pitches[i - 1] ?? NaN)) context.moveTo(x(i * step), y(pitch));
    else context.lineTo(x(i * step), y(pitch));
  });
  context.stroke();
}
