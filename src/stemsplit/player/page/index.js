// The list of songs: a card for each, with the waveforms of its stems on top of one another.

import { clock } from "./data.js";
import { levelsOf, drawWaveform } from "./waveform.js";
import { make } from "./tracks.js";
import { startTheme } from "./theme.js";

const songs = JSON.parse(document.getElementById("list").textContent);

function card(song) {
  const waves = make("div", { className: "waves" });
  const levels = song.stems.map((stem) => levelsOf(stem.peaks));
  const full = Math.max(...levels.map(({ peak }) => peak.reduce((a, b) => Math.max(a, b), 0)));
  const canvases = song.stems.map((stem) => {
    const canvas = make("canvas", { attributes: { "aria-hidden": "true" } });
    canvas.style.setProperty("--stem", `var(--${stem.hue})`);
    waves.append(canvas);
    return canvas;
  });
  const by = [song.artist, clock(song.seconds), song.stems.map((stem) => stem.name).join(", ")];
  const about = make("p", { className: "about" }, by.filter(Boolean).join(" · "));
  const words = make("div", {}, make("h2", {}, song.title), about);
  const item = make("li", {}, make("a", { href: song.page }, words, waves));
  return {
    item,
    text: `${song.title} ${song.artist}`.toLowerCase(),
    draw() { canvases.forEach((canvas, i) => drawWaveform(canvas, levels[i], full)); },
  };
}

const cards = songs.map(card);
const list = document.getElementById("songs");
list.append(...cards.map(({ item }) => item));
const draw = () => cards.filter(({ item }) => !item.hidden).forEach((one) => one.draw());
const find = document.getElementById("find");
find.oninput = () => {
  const wanted = find.value.trim().toLowerCase();
  for (const { item, text } of cards) item.hidden = !text.includes(wanted);
  document.getElementById("none").hidden = cards.some(({ item }) => !item.hidden);
  draw();
};
find.parentElement.hidden = songs.length < 6;
document.getElementById("theme").onclick = startTheme(draw);
new ResizeObserver(draw).observe(list);
