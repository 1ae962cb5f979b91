// The page of the server: songs are dropped, wait, are separated, and play.

import { get, send, upload, listen } from "./api.js";
import { jobCard, OVER } from "./jobs.js";
import { songCard } from "./songs.js";
import { make } from "./tracks.js";
import { startTheme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const SHOWN = 30; // songs at once
const PRESET_NAMES = { "": "All stems", "practice-drums": "No drums", "practice-bass": "No bass" };
const FORMATS = { m4a: "M4A (AAC)", alac: "ALAC", ogg: "Ogg Vorbis", opus: "Opus" };
const jobs = new Map(); // number → its card
const latest = new Map(); // number → the job as it was told last
const mine = new Set(); // jobs that were dropped here and are not over
let dropped = 0; // songs since the last time that nothing was going on
let choices;
let drawAll = () => {};

function say(text) {
  $("status").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { $("status").textContent = ""; }, 6000);
}

const attempt = (promise) => promise.catch((error) => say(error.message));
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// --- what to get

function size(bytes) {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${Math.round(bytes / 1e8) / 10} GB`;
}

function length(seconds) {
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 360) / 10} hours`;
}

function showChoices() {
  const all = { name: "", about: "every stem of the model, each in a file" };
  $("presets").append(...[all, ...choices.presets].map(({ name, about }) => {
    const input = make("input", { type: "radio", name: "preset", value: name, checked: name === "" });
    input.onchange = () => { $("what").textContent = capital(about); };
    return make("label", { className: "chip" }, input, PRESET_NAMES[name] ?? capital(name.replace("-", " ")));
  }));
  $("what").textContent = capital(all.about);
  const option = (value, text) => make("option", { value }, text);
  $("format").append(option("", "as usual"), ...choices.formats.map((f) => option(f, FORMATS[f] ?? f.toUpperCase())));
  $("model").append(...choices.models.map(({ name }) => option(name, name)));
  $("model-field").hidden = choices.models.length < 2;
  $("limits").textContent = `Any audio or video file, up to ${size(choices.most_bytes)} and ${length(choices.most_seconds)}`;
  $("place").textContent = `stemsplit ${choices.version}; files lie in ${choices.output}.`;
}

function wanted() {
  const preset = document.querySelector("[name=preset]:checked")?.value ?? "";
  return { preset, format: $("format").value, model: $("model").value };
}

// --- songs that are dropped

async function take(files) {
  const what = wanted(); // as it is now, for all of them
  for (const file of files) {
    dropped += 1;
    if (file.size > choices.most_bytes) {
      addRefused(file.name, `too large: at most ${size(choices.most_bytes)}`);
      continue;
    }
    await sendFile(file, what);
  }
}

function addRefused(name, why) {
  const card = jobCard(name, { dismiss: () => { card.item.remove(); showParts(); } });
  card.refused(why);
  $("jobs").append(card.item);
  showParts();
}

async function sendFile(file, what) {
  let sending;
  const card = jobCard(file.name, { cancel: () => sending.cancel() });
  card.uploading(0);
  $("jobs").append(card.item);
  showParts();
  sending = upload(file, what, (share) => card.uploading(share));
  try {
    const job = await sending.job;
    mine.add(job.number);
    card.item.remove();
    show(latest.get(job.number) ?? job); // an event may have been faster than this answer
  } catch (error) {
    card.item.remove();
    addRefused(file.name, error.message);
  }
}

// --- jobs

function show(job) {
  const before = latest.get(job.number);
  if (OVER.includes(before?.state) && !OVER.includes(job.state)) return; // it came late
  latest.set(job.number, job);
  const over = OVER.includes(job.state);
  const isMine = mine.has(job.number);
  if (!jobs.has(job.number)) {
    if (over && !isMine && job.state !== "failed") return; // of another day: its stems are among the songs
    addCard(job);
  }
  jobs.get(job.number).update(job);
  if (over && mine.delete(job.number)) finished(job);
  else if (over && before && before.state !== job.state) attempt(showSongs());
  showParts();
}

function addCard({ number, name }) {
  const stop = () => {
    jobs.get(number).update({ ...latest.get(number), cancelling: true });
    attempt(send("POST", `/jobs/${number}/cancel`));
  };
  const dismiss = () => attempt(send("DELETE", `/jobs/${number}`).then(() => forget(number)));
  const card = jobCard(name, { cancel: stop, dismiss });
  jobs.set(number, card);
  $("jobs").append(card.item);
}

function forget(number) {
  jobs.get(number)?.item.remove();
  jobs.delete(number);
  showParts();
}

/** A song that was dropped here is over: the player opens if it was the only one. */
function finished(job) {
  attempt(showSongs());
  const only = dropped === 1 && mine.size === 0;
  if (mine.size === 0) dropped = 0;
  if (job.state === "done" && only && $("follow").checked && document.visibilityState === "visible") {
    location.assign(job.page);
  }
}

function showParts() {
  $("jobs-part").hidden = $("jobs").childElementCount === 0;
}

// --- songs that are there

async function showSongs(count = Math.max(SHOWN, $("songs").childElementCount)) {
  const { total, songs } = await get(`/songs?count=${count}`);
  const cards = songs.map((song) => songCard(song, () => makePage(song)));
  $("songs").replaceChildren(...cards.map(({ item }) => item));
  $("songs-part").hidden = total === 0;
  $("more").hidden = songs.length >= total;
  drawAll = () => cards.forEach((card) => card.draw());
  drawAll();
}

/** Let the server write the page of a song that a command has separated without one. */
async function makePage({ track }) {
  try {
    const { page } = await send("POST", `/player?track=${encodeURIComponent(track)}`);
    location.assign(page);
  } catch (error) {
    say(error.message);
    throw error;
  }
}

function startDropping() {
  const drop = $("drop");
  let depth = 0;
  const over = (event, change) => {
    event.preventDefault();
    depth = Math.max(0, depth + change);
    drop.classList.toggle("over", depth > 0);
  };
  addEventListener("dragenter", (event) => over(event, 1));
  addEventListener("dragleave", (event) => over(event, -1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    depth = 0;
    over(event, 0);
    attempt(take([...event.dataTransfer.files]));
  });
  drop.addEventListener("submit", (event) => event.preventDefault());
  $("files").onchange = () => {
    const files = [...$("files").files];
    $("files").value = ""; // the same file may be chosen again
    attempt(take(files));
  };
}

async function start() {
  $("theme").onclick = startTheme(() => drawAll());
  new ResizeObserver(() => drawAll()).observe($("songs"));
  $("more").onclick = () => attempt(showSongs($("songs").childElementCount + SHOWN));
  choices = await get("/choices");
  showChoices();
  startDropping();
  listen((job) => show(job), (lost) => {
    $("notice").hidden = !lost;
    $("notice").textContent = "The server is away. What waits is done when it is started again.";
  });
  await showSongs();
}

attempt(start());
