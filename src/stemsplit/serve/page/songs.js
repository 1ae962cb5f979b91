// The songs in the output folder: a card for each, with the waveforms of its stems, as on the index of the player.

import { make } from "./tracks.js";
import { clock } from "./data.js";
import { levelsOf, drawWaveform } from "./waveform.js";

/** Make the card of a song. `draw` draws its waveforms again; `makePage` is called if it has no page and gets one. */
export function songCard(song, makePage) {
  const title = song.page ? make("a", { href: song.page }, song.title) : song.title;
  const by = [song.artist, song.seconds ? clock(song.seconds) : "", song.model].filter(Boolean).join(" · ");
  const links = song.stems.map((stem) => {
    const link = make("a", { href: stem.file, download: "", title: `Save ${stem.name}` }, make("i"), stem.name);
    link.style.setProperty("--stem", `var(--${stem.hue})`);
    return link;
  });
  const words = make("div", {}, make("h3", {}, title), make("p", { className: "about" }, by));
  words.append(make("p", { className: "stems" }, ...links));
  if (!song.page) {
    const button = make("button", { type: "button", className: "link" }, "Make its player");
    button.onclick = () => { button.disabled = true; makePage().catch(() => { button.disabled = false; }); };
    words.lastChild.append(button);
  }
  const waves = make("div", { className: "waves" });
  const drawn = song.stems.filter((stem) => stem.peaks).map((stem) => {
    const canvas = make("canvas", { attributes: { "aria-hidden": "true" } });
    canvas.style.setProperty("--stem", `var(--${stem.hue})`);
    waves.append(canvas);
    return [canvas, levelsOf(stem.peaks)];
  });
  const full = Math.max(...drawn.flatMap(([, { peak }]) => peak.reduce((a, b) => Math.max(a, b), 0)), 0);
  return {
    item: make("li", { className: "song" }, make("span", { className: song.page ? "go" : "" }), words, waves),
    draw() { for (const [canvas, levels] of drawn) drawWaveform(canvas, levels, full); },
  };
}
