// Long songs are not inside the page: media elements play the files beside it. They are kept together by the clock of
// the first one, to some hundredths of a second, and know neither panning nor export.

import { gainsOf } from "./levels.js";

const APART = 0.04; // seconds that an element may be away from the first one

/** A transport like that of `makeTransport`, of files. */
export function makeElements(files, duration, { onend, onfail }) {
  const settings = { preload: "auto", preservesPitch: true };
  const elements = files.map((file) => Object.assign(new Audio(file), settings));
  const [first] = elements;
  let loop = null;
  let wanted = false;
  first.addEventListener("ended", () => { wanted = false; onend(); });
  elements.forEach((element, i) => element.addEventListener("error", () => onfail(files[i])));

  setInterval(() => {
    if (!wanted) return;
    if (loop && first.currentTime >= loop[1]) first.currentTime = loop[0];
    for (const element of elements) {
      if (Math.abs(element.currentTime - first.currentTime) > APART) element.currentTime = first.currentTime;
      if (element.paused && !element.ended) element.play().catch(() => {});
    }
  }, 200);

  return {
    duration,
    get playing() { return wanted; },
    get position() { return Math.min(first.currentTime, duration); },
    get speed() { return first.playbackRate; },
    get loop() { return loop; },
    async play() {
      wanted = true;
      await Promise.all(elements.map((element) => element.play()));
    },
    pause() {
      wanted = false;
      for (const element of elements) element.pause();
    },
    seek(seconds) { for (const element of elements) element.currentTime = Math.min(Math.max(0, seconds), duration); },
    setSpeed(factor) { for (const element of elements) element.playbackRate = factor; },
    setLoop(region) { loop = region; },
    /** Take over a mix; an element cannot be louder than its file. */
    apply(mix, volume) {
      gainsOf(mix).forEach((gain, i) => { elements[i].volume = Math.min(1, gain * volume); });
    },
  };
}
