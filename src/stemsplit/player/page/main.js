// The page: reads the song, builds the tracks, and joins what is clicked with what is heard.

import { readSong, soundOf, clock } from "./data.js";
import { freshMix, gainsOf, presetsOf } from "./levels.js";
import { makeMixer } from "./mixer.js";
import { makeTransport, placeAfter } from "./transport.js";
import { makeElements } from "./elements.js";
import { renderMix, wavOf, save } from "./wav.js";
import { levelsOf, drawWaveform, drawRuler } from "./waveform.js";
import { drawSpectrogram } from "./spectrogram.js";
import { melodyOf, drawMelody } from "./pitch.js";
import { make, makeTrack } from "./tracks.js";
import { listenToLanes, listenToSlider } from "./timeline.js";
import { listenToKeys, listKeys } from "./keys.js";
import { startTheme } from "./theme.js";

const RATE = 48000; // Hz, that of Opus
const SPEEDS = [0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1, 1.1, 1.25, 1.5];
const SHORTEST = 0.05; // seconds of a loop
const HOW_TO_LOOP = "drag over a waveform to choose a region";
const TOO_LONG = "The sound of this song is not inside the page: its files are played from beside it, together to some "
  + "hundredths of a second, and without panning, spectrograms and export.";

const at = (id) => document.getElementById(id);
const song = readSong();
const mix = freshMix(song.stems.length);
const levels = song.stems.map((stem) => levelsOf(stem.peaks));
const full = Math.max(...levels.map(({ peak }) => peak.reduce((a, b) => Math.max(a, b), 0)));
const melody = song.melody && melodyOf(song.melody);
const view = { spectrogram: false, pitch: Boolean(melody), drawn: 0, region: null, volume: 1 };
let buffers = null;
let context = null;
let mixer = null;
let transport = null;

/** Tell what is going on, for a while if it is over. */
function say(text, over = false) {
  at("status").textContent = text;
  if (over) setTimeout(() => { if (at("status").textContent === text) say(""); }, 6000);
}

const complain = (text) => Object.assign(at("notice"), { textContent: text, hidden: false });

// --- sound

/** The clock and graph of what is heard, made when something is first played: browsers want a click before. */
function started() {
  if (!context) {
    context = new AudioContext({ sampleRate: RATE, latencyHint: "playback" });
    mixer = makeMixer(context, song.stems.length);
    mixer.apply(mix, view.volume);
  }
  return { context, mixer };
}

async function decoded() {
  const decoder = new OfflineAudioContext(2, 1, RATE);
  const found = [];
  for (let i = 0; i < song.stems.length; i += 1) {
    say(`Unpacking ${song.stems[i].name} …`);
    found.push(await decoder.decodeAudioData(soundOf(i).buffer));
  }
  say("");
  return found;
}

async function prepared() {
  const over = { onend: () => { showPlaying(); showPlace(); } };
  if (!song.embedded) {
    const fail = (file) => complain(`This browser cannot play ${file}: keep this page beside its stems.`);
    return makeElements(song.stems.map((stem) => stem.file), song.seconds, { ...over, onfail: fail });
  }
  buffers = await decoded();
  return makeTransport(buffers, {
    context: () => started().context,
    inputs: () => started().mixer.inputs,
    weights: () => gainsOf(mix),
    ...over,
  });
}

function heard() {
  const gains = gainsOf(mix);
  tracks.forEach((track, i) => track.show(gains[i] > 0));
  presets.forEach(({ button, heard: those }) => {
    const same = gains.every((gain, i) => (gain > 0) === those[i]) && mix.every((stem) => stem.volume === 1);
    button.setAttribute("aria-pressed", String(same));
  });
  mixer?.apply(mix, view.volume);
  transport?.apply?.(mix, view.volume);
}

async function playOrPause() {
  if (!transport) return;
  if (transport.playing) transport.pause();
  else await transport.play().catch((error) => complain(`This browser does not play: ${error.message}`));
  showPlaying();
}

function seek(seconds) {
  transport?.seek(seconds);
  showPlace();
}

// --- region and speed

function setRegion(region, last = true) {
  if (region) {
    const start = Math.min(Math.max(0, region[0]), Math.max(0, song.seconds - SHORTEST));
    view.region = [start, Math.min(song.seconds, Math.max(region[1], start + SHORTEST))];
  }
  if (last) setLoop(Boolean(region));
  else showRegion(true);
}

function setLoop(on) {
  view.region ??= [0, song.seconds];
  transport?.setLoop(on ? view.region : null);
  at("loop").setAttribute("aria-pressed", String(on));
  showRegion(on);
}

function showRegion(on) {
  const [start, end] = view.region;
  at("tracks").classList.toggle("looped", on);
  at("tracks").style.setProperty("--from", start / song.seconds);
  at("tracks").style.setProperty("--to", end / song.seconds);
  at("region").textContent = on ? `${clock(start, true)} – ${clock(end, true)}` : HOW_TO_LOOP;
  for (const [id, seconds] of [["loop-start", start], ["loop-end", end]]) {
    at(id).hidden = !on;
    showSlider(at(id), seconds);
  }
}

function setSpeed(factor) {
  transport?.setSpeed(factor);
  at("speed").value = String(factor);
}

function nextSpeed(step) {
  const now = SPEEDS.indexOf(Number(at("speed").value));
  setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, now + step))]);
}

// --- what is shown

function showSlider(slider, seconds) {
  slider.setAttribute("aria-valuemax", song.seconds.toFixed(1));
  slider.setAttribute("aria-valuenow", seconds.toFixed(1));
  slider.setAttribute("aria-valuetext", `${clock(seconds, true)} of ${clock(song.seconds)}`);
}

function showPlaying() {
  const playing = Boolean(transport?.playing);
  at("play").classList.toggle("on", playing);
  at("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  if (playing) requestAnimationFrame(follow);
}

function showPlace() {
  const place = transport ? transport.position : 0;
  at("tracks").style.setProperty("--at", place / song.seconds);
  at("now").textContent = clock(place, true);
  showSlider(at("seek"), place);
}

function follow() {
  showPlace();
  if (transport.playing) requestAnimationFrame(follow);
}

function draw() {
  view.drawn += 1;
  const mine = view.drawn;
  drawRuler(at("ruler").querySelector("canvas"), song.seconds, (seconds) => clock(seconds, seconds % 1 > 0));
  tracks.forEach((track, i) => {
    const sung = view.pitch && melody && song.melody.stem === i;
    track.row.classList.toggle("sung", Boolean(sung));
    if (!view.spectrogram) for (const canvas of [track.wave, track.played]) drawWaveform(canvas, levels[i], full);
    track.over.hidden = !sung;
    if (sung) drawMelody(track.over, melody, song.seconds);
  });
  if (view.spectrogram) drawSpectrograms(() => mine === view.drawn);
}

async function drawSpectrograms(wanted) {
  at("tracks").setAttribute("aria-busy", "true");
  for (let i = 0; i < tracks.length && wanted(); i += 1) {
    const { played, wave } = tracks[i];
    played.getContext("2d").clearRect(0, 0, played.width, played.height);
    await drawSpectrogram(wave, buffers[i], wanted);
  }
  if (wanted()) at("tracks").setAttribute("aria-busy", "false");
}

function showSpectrograms() {
  if (!buffers) return;
  view.spectrogram = !view.spectrogram;
  at("spectrogram").setAttribute("aria-pressed", String(view.spectrogram));
  at("tracks").classList.toggle("spectral", view.spectrogram);
  draw();
}

function showPitch() {
  if (!melody) return;
  view.pitch = !view.pitch;
  at("notes").setAttribute("aria-pressed", String(view.pitch));
  draw();
}

// --- files

async function exportMix() {
  at("export").disabled = true;
  say("Mixing …");
  try {
    const [start, end] = transport.loop ?? [0, transport.duration];
    const rendered = await renderMix(buffers, mix, { volume: view.volume, start, end, speed: transport.speed });
    const { blob, gain } = wavOf(rendered);
    save(blob, `${song.fileName} (mix).wav`);
    const lower = gain < 1 ? `, turned down by ${(-20 * Math.log10(gain)).toFixed(1)} dB so that it does not clip` : "";
    say(`Exported ${clock(rendered.duration)}${lower}`, true);
  } finally {
    at("export").disabled = false;
  }
}

function listFiles() {
  song.stems.forEach((stem, i) => {
    const item = make("li", {}, make("i", { className: "dot" }), make("span", { className: "what" }, stem.name));
    item.style.setProperty("--stem", `var(--${stem.hue})`);
    const attributes = { "aria-label": `${stem.name}, ${stem.kind}` };
    item.append(make("a", { href: stem.file, download: "", attributes }, stem.kind));
    if (song.embedded) {
      const button = make("button", { type: "button", className: "link" }, "Opus");
      button.setAttribute("aria-label", `${stem.name}, Opus`);
      button.onclick = () => save(new Blob([soundOf(i)], { type: "audio/ogg" }), `${song.fileName} (${stem.name}).ogg`);
      item.append(button);
    }
    at("files").append(item);
  });
}

// --- start

const tracks = song.stems.map((stem, i) => makeTrack(stem, mix[i], heard, { pans: song.embedded }));
at("tracks").append(...tracks.map((track) => track.row));
const presets = presetsOf(song.stems.map((stem) => stem.name)).map((preset) => {
  const button = make("button", { type: "button", className: "chip" }, preset.name);
  button.onclick = () => {
    mix.forEach((stem, i) => Object.assign(stem, { solo: false, mute: !preset.heard[i], volume: 1, pan: 0 }));
    heard();
  };
  at("presets").append(button);
  return { ...preset, button };
});

const solo = (i) => () => { mix[i].solo = !mix[i].solo; heard(); };
const mute = (i) => () => { mix[i].mute = !mix[i].mute; heard(); };
const onlyTen = song.stems.slice(0, 9);
const changeTheme = startTheme(draw);
const edge = (which) => (seconds, last = true) => {
  const region = [...(view.region ?? [0, song.seconds])];
  region[which] = seconds;
  if (region[0] < region[1]) setRegion(region, last);
};
const commands = [
  ["Space k", "Play or pause", playOrPause],
  ["ArrowLeft ArrowRight", "Back and on by 5 seconds"],
  ["Shift+ArrowLeft Shift+ArrowRight", "Back and on by 1 second"],
  ["ArrowLeft", "", () => seek(transport.position - 5)],
  ["ArrowRight", "", () => seek(transport.position + 5)],
  ["Shift+ArrowLeft", "", () => seek(transport.position - 1)],
  ["Shift+ArrowRight", "", () => seek(transport.position + 1)],
  ["Home", "To the start", () => seek(0)],
  ["l", "Loop on or off", () => setLoop(at("loop").getAttribute("aria-pressed") !== "true")],
  ["[", "The loop starts here", () => edge(0)(transport.position)],
  ["]", "The loop ends here", () => edge(1)(transport.position)],
  [",", "Slower", () => nextSpeed(-1)],
  [".", "Faster", () => nextSpeed(1)],
  ["1 2 3", "Solo a stem"],
  ["Shift+1 Shift+2", "Mute a stem"],
  ...onlyTen.map((_, i) => [`${i + 1}`, "", solo(i)]),
  ...onlyTen.map((_, i) => [`Shift+${i + 1}`, "", mute(i)]),
  ["v", "Spectrograms", showSpectrograms],
  ...(melody ? [["n", "Sung pitch", showPitch]] : []),
  ["t", "Dark or light", changeTheme],
  ["?", "These keys", () => at("keys").showModal()],
];

at("total").textContent = clock(song.seconds);
at("speed").append(...SPEEDS.map((factor) => make("option", { value: factor }, `${factor}×`)));
at("speed").value = "1";
at("speed").onchange = () => setSpeed(Number(at("speed").value));
at("volume").oninput = () => { view.volume = Number(at("volume").value) / 100; heard(); };
at("play").onclick = playOrPause;
at("loop").onclick = () => setLoop(at("loop").getAttribute("aria-pressed") !== "true");
at("notes").onclick = showPitch;
at("notes").hidden = !melody;
at("spectrogram").onclick = showSpectrograms;
at("spectrogram").hidden = !song.embedded;
at("export").onclick = exportMix;
at("export").hidden = !song.embedded;
at("theme").onclick = changeTheme;
at("help").onclick = () => at("keys").showModal();
listKeys(at("keys-list"), commands, make);
listFiles();
heard();
draw();
showPlace();
new ResizeObserver(draw).observe(at("tracks"));
if (!song.embedded) complain(TOO_LONG);

/** For the console of the browser and for tests. */
const ready = prepared().then((made) => {
  transport = made;
  listenToKeys(commands);
  const lanes = [at("ruler"), ...tracks.map((track) => track.lane)];
  listenToLanes(lanes, { duration: song.seconds, onseek: seek, onregion: setRegion });
  const { duration } = transport;
  listenToSlider(at("seek"), { duration, value: () => transport.position, onmove: seek, drag: false });
  listenToSlider(at("loop-start"), { duration, value: () => view.region[0], onmove: edge(0) });
  listenToSlider(at("loop-end"), { duration, value: () => view.region[1], onmove: edge(1) });
  at("play").disabled = false;
  at("export").disabled = false;
  heard();
}, (error) => complain(`This browser cannot unpack the stems (${error.message}): newer ones can, Safari from 18.4 on.`));
window.stemsplit = { song, mix, ready, heard, seek, setLoop, setRegion, setSpeed, renderMix, wavOf, makeTransport,
  placeAfter, get buffers() { return buffers; }, get transport() { return transport; } };
