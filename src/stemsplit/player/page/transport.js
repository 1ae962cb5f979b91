// Plays buffers that start at one time of the context's clock, so that stems stay together to the sample.

import { makeStretcher } from "./stretch.js";

const SOON = 0.04; // seconds: sources that start now would start late
const FIRST = 6; // half frames of stretched sound that are made at first, a fifth of a second …
const PIECE = 16; // … and at once later
const KEPT = 20; // pieces that may still have to be stopped
const AHEAD = 2.5; // seconds of stretched sound that wait; timers of hidden pages come once a second

/** The place in the song `elapsed` seconds after it played at `from`. Loops are [start, end] or null. */
export function placeAfter(from, elapsed, speed, loop) {
  const place = from + elapsed * speed;
  if (!loop || from >= loop[1] || place < loop[1]) return place;
  return loop[0] + ((place - loop[0]) % (loop[1] - loop[0]));
}

/**
 * A transport of decoded stems.
 * @param {AudioBuffer[]} buffers all of one length
 * @param {object} options `context()` and `inputs()` are asked for when something is to be heard; `weights()` as in
 *   `makeStretcher`; `onend()` is called when the song is over.
 */
export function makeTransport(buffers, { context, inputs, weights, onend }) {
  const duration = buffers[0].duration;
  const channels = buffers.map((b) => Array.from({ length: b.numberOfChannels }, (_, c) => b.getChannelData(c)));
  let playing = false;
  let from = 0; // the place, in seconds, at which …
  let since = 0; // … the clock was at this time
  let speed = 1;
  let loop = null;
  let sources = [];
  let timer = 0;
  let run = 0;

  const position = () => {
    if (!playing) return from;
    const elapsed = Math.max(0, context().currentTime - since);
    return Math.min(duration, placeAfter(from, elapsed, speed, loop));
  };

  function silence(when) {
    run += 1;
    clearTimeout(timer);
    for (const source of sources) source.stop(when);
    sources = [];
  }

  function source(buffer, input, when, offset = 0) {
    const node = new AudioBufferSourceNode(context(), { buffer });
    node.connect(input);
    node.start(when, offset);
    sources.push(node);
    return node;
  }

  function ended(mine) {
    if (mine !== run || !playing) return;
    silence(0);
    playing = false;
    from = 0;
    onend();
  }

  function startWhole(when) {
    const mine = run;
    buffers.forEach((buffer, i) => {
      const node = source(buffer, inputs()[i], when, from);
      if (loop && from < loop[1]) Object.assign(node, { loop: true, loopStart: loop[0], loopEnd: loop[1] });
    });
    sources[0].onended = () => ended(mine);
  }

  function startStretched(when) {
    const mine = run;
    const { sampleRate } = context();
    const stretcher = makeStretcher(channels, sampleRate, weights);
    const looped = loop && from < loop[1];
    stretcher.start(Math.round(from * sampleRate), speed, looped ? loop.map((s) => Math.round(s * sampleRate)) : null);
    const first = Math.ceil(when * sampleRate);
    const last = looped ? Infinity : first + ((duration - from) * sampleRate) / speed;
    let next = first;
    let count = FIRST;
    const more = () => {
      if (mine !== run) return;
      const behind = next / sampleRate < context().currentTime + AHEAD;
      if (next < last && behind) {
        stretcher.next(count).forEach((samples, i) => {
          const buffer = context().createBuffer(samples.length, samples[0].length, sampleRate);
          samples.forEach((channel, c) => buffer.copyToChannel(channel, c));
          source(buffer, inputs()[i], next / sampleRate);
        });
        next += count * stretcher.half;
        count = PIECE;
      }
      sources = sources.slice(-KEPT * buffers.length);
      if (next >= last && context().currentTime >= last / sampleRate) ended(mine);
      else timer = setTimeout(more, behind ? 0 : 250);
    };
    more();
  }

  function start(when) {
    since = when;
    if (speed === 1) startWhole(when);
    else startStretched(when);
  }

  /** Go on at another place, speed or loop, without a gap: the old sources stop when the new ones start. */
  function again(change) {
    if (!playing) {
      change(from);
      return;
    }
    const when = context().currentTime + SOON;
    const there = placeAfter(from, Math.max(0, when - since), speed, loop);
    silence(when);
    from = Math.min(there, duration);
    change(from);
    start(when);
  }

  return {
    duration,
    get playing() { return playing; },
    get position() { return position(); },
    get speed() { return speed; },
    get loop() { return loop; },
    async play() {
      if (playing) return;
      await context().resume();
      if (from >= duration - 0.01) from = loop ? loop[0] : 0;
      playing = true;
      run += 1;
      start(context().currentTime + SOON);
    },
    pause() {
      if (!playing) return;
      from = position();
      playing = false;
      silence(0);
    },
    seek(seconds) { again(() => { from = Math.min(Math.max(0, seconds), duration); }); },
    setSpeed(factor) { again(() => { speed = factor; }); },
    setLoop(region) {
      again((there) => {
        loop = region;
        if (loop && there >= loop[1]) from = loop[0];
      });
    },
  };
}
