// A row per stem: its name, switches and faders, and the lane with its waveform.

/** Make an element: make("button", { className: "x" }, "text or elements"). */
export function make(tag, properties = {}, ...inside) {
  const { attributes = {}, ...plain } = properties;
  const element = Object.assign(document.createElement(tag), plain);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

function toggle(letter, label, onclick) {
  const attributes = { "aria-pressed": "false", "aria-label": label, title: label };
  const className = `switch ${letter === "S" ? "solo" : "mute"}`;
  return make("button", { type: "button", className, attributes, onclick }, letter);
}

function fader(text, label, [min, max, value], oninput) {
  const input = make("input", { type: "range", min, max, value, attributes: { "aria-label": label } });
  input.addEventListener("input", () => oninput(Number(input.value)));
  input.addEventListener("dblclick", () => { input.value = value; oninput(value); });
  return make("label", { className: "fader" }, make("span", {}, text), input);
}

/**
 * Build the row of a stem.
 * @param {object} stem name and hue
 * @param {object} state its part of the mix, which is changed here
 * @param {() => void} changed is called after that
 */
export function makeTrack(stem, state, changed, { pans }) {
  const set = (name) => () => { state[name] = !state[name]; changed(); };
  const mute = toggle("M", `Mute ${stem.name}`, set("mute"));
  const solo = toggle("S", `Solo ${stem.name}`, set("solo"));
  const volume = fader("Vol", `Volume of ${stem.name}`, [0, 150, 100], (v) => { state.volume = v / 100; changed(); });
  const pan = fader("Pan", `Pan of ${stem.name}`, [-100, 100, 0], (v) => { state.pan = v / 100; changed(); });
  const wave = make("canvas", { className: "wave" });
  const played = make("canvas", { className: "wave played" });
  const over = make("canvas", { className: "over" });
  const lane = make("div", { className: "lane" }, wave, played, over);
  const name = make("h2", { className: "name" }, make("i", { className: "dot" }), stem.name);
  const strip = make("div", { className: "strip" }, name, make("div", { className: "switches" }, mute, solo), volume);
  if (pans) strip.append(pan);
  const row = make("article", { className: "track", attributes: { "aria-label": stem.name } }, strip, lane);
  row.style.setProperty("--stem", `var(--${stem.hue})`);
  const [loud, side] = [volume.querySelector("input"), pan.querySelector("input")];
  return {
    row, lane, wave, played, over,
    /** Show the state; `heard` says whether the stem sounds at all. */
    show(heard) {
      mute.setAttribute("aria-pressed", String(state.mute));
      solo.setAttribute("aria-pressed", String(state.solo));
      row.classList.toggle("silent", !heard);
      loud.value = Math.round(state.volume * 100);
      side.value = Math.round(state.pan * 100);
      loud.setAttribute("aria-valuetext", `${loud.value} percent`);
      const where = state.pan === 0 ? "centre" : `${Math.abs(side.value)} percent ${state.pan < 0 ? "left" : "right"}`;
      side.setAttribute("aria-valuetext", where);
    },
  };
}
