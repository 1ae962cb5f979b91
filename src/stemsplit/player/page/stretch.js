// Another speed at the same pitch: WSOLA (Verhelst and Roelands 1993).
// Frames overlap by one half. Each is taken where it goes on most like the one before, within a few milliseconds of its
// place. The place is searched in the mix and is the same for all stems, which so stay together to the sample.

const FRAME_SECONDS = 0.064;
const SEARCH_SECONDS = 0.014;
const COARSE = 4; // samples between the places that are tried first
const SILENT = 1e-6; // energy of a frame in which nothing is heard: any place is as good, so it stays
const FAR = 0.002; // share of likeness that the farthest place loses: sound that repeats itself stays where it is

/**
 * A stretcher of stems.
 * @param {Float32Array[][]} stems the channels of every stem, all of one length
 * @param {number} rate Hz
 * @param {() => number[]} weights how loud each stem is in the mix
 */
export function makeStretcher(stems, rate, weights) {
  const half = Math.round((FRAME_SECONDS * rate) / 2 / COARSE) * COARSE;
  const search = Math.round((SEARCH_SECONDS * rate) / COARSE) * COARSE;
  const length = stems[0][0].length;
  const rise = Float32Array.from({ length: half }, (_, i) => Math.sin((Math.PI / 2) * ((i + 0.5) / half)) ** 2);
  let place = 0; // where the last frame was taken
  let wanted = 0; // where the next one should be
  let loop = null;
  let speed = 1;

  /** The mix of all stems from `start` on, in mono; silence beyond its ends. */
  function mixed(start, count) {
    const out = new Float32Array(count);
    const loud = weights();
    const from = Math.max(0, -start);
    const to = Math.min(count, length - start);
    stems.forEach((channels, s) => {
      if (!loud[s]) return;
      for (const samples of channels) {
        for (let i = from; i < to; i += 1) out[i] += loud[s] * samples[start + i];
      }
    });
    return out;
  }

  /** The sample, within the search, whose frame is most like the one that would have come next. */
  function bestPlace() {
    const target = Math.round(wanted);
    const next = mixed(place + half, 2 * half);
    if (next.reduce((energy, sample) => energy + sample * sample, 0) < SILENT) return target;
    const around = mixed(target - search, 2 * half + 2 * search);
    const likeness = (lag, step) => {
      let product = 0;
      let energy = 1e-12;
      for (let i = 0; i < 2 * half; i += step) {
        const sample = around[lag + i];
        product += sample * next[i];
        energy += sample * sample;
      }
      return product / Math.sqrt(energy);
    };
    let best = search;
    let most = likeness(search, COARSE);
    for (let lag = 0; lag <= 2 * search; lag += COARSE) {
      const found = likeness(lag, COARSE) * (1 - (FAR * Math.abs(lag - search)) / search);
      if (found > most) [best, most] = [lag, found];
    }
    const centre = best;
    most = likeness(centre, 1);
    for (let lag = Math.max(0, centre - COARSE + 1); lag < Math.min(2 * search, centre + COARSE); lag += 1) {
      const found = likeness(lag, 1);
      if (found > most) [best, most] = [lag, found];
    }
    return target - search + best;
  }

  /** Half a frame of one channel: what was there fades out, what comes fades in. */
  function crossfade(samples, before, after, out, at) {
    for (let i = 0; i < half; i += 1) {
      out[at + i] = (1 - rise[i]) * (samples[before + i] ?? 0) + rise[i] * (samples[after + i] ?? 0);
    }
  }

  return {
    half,
    /** Begin at a sample. `region` is [start, end] in samples to play again and again, or null. */
    start(sample, factor, region = null) {
      wanted = sample;
      place = sample - half;
      speed = factor;
      loop = region;
    },
    /** The next `count` half frames: for every stem its channels. */
    next(count) {
      const out = stems.map((channels) => channels.map(() => new Float32Array(count * half)));
      for (let k = 0; k < count; k += 1) {
        const found = bestPlace();
        stems.forEach((channels, s) => {
          channels.forEach((samples, c) => crossfade(samples, place + half, found, out[s][c], k * half));
        });
        place = found;
        wanted += half * speed;
        if (loop && wanted >= loop[1] && loop[1] > loop[0]) wanted -= loop[1] - loop[0];
      }
      return out;
    },
  };
}
