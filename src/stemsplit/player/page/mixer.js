// The graph of sound: an input per stem → gain → pan → master → out. Any kind of audio context will do.

import { gainsOf } from "./levels.js";

const RAMP = 0.012; // seconds in which a change is made, so that nothing clicks

/** Build the graph. Returns the inputs to connect sources to, and what sets the mix. */
export function makeMixer(context, count) {
  const master = new GainNode(context);
  master.connect(context.destination);
  const strips = Array.from({ length: count }, () => {
    // Mono becomes two equal channels here: otherwise panning would turn it down by 3 dB.
    const gain = new GainNode(context, { channelCount: 2, channelCountMode: "explicit" });
    const pan = new StereoPannerNode(context);
    gain.connect(pan).connect(master);
    return { gain, pan };
  });
  const set = (param, value, at) => {
    if (at === 0) param.value = value;
    else param.setTargetAtTime(value, at, RAMP);
  };
  return {
    inputs: strips.map((strip) => strip.gain),
    /** Take over a mix, and the volume of all together. */
    apply(mix, volume) {
      const at = context.currentTime;
      gainsOf(mix).forEach((gain, i) => {
        set(strips[i].gain.gain, gain, at);
        set(strips[i].pan.pan, mix[i].pan, at);
      });
      set(master.gain, volume, at);
    },
  };
}
