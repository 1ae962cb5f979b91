// A mix: what every stem is set to, and how loud that makes it. No sound and no page in here.

/** A mix in which all stems are heard as they are. */
export function freshMix(count) {
  return Array.from({ length: count }, () => ({ volume: 1, pan: 0, mute: false, solo: false }));
}

/** The gain of every stem: solo goes before mute. */
export function gainsOf(mix) {
  const solo = mix.some((stem) => stem.solo);
  return mix.map((stem) => ((solo ? stem.solo : !stem.mute) ? stem.volume : 0));
}

/** Mixes that one asks for most: name → which stems are heard. */
export function presetsOf(names) {
  const presets = [{ name: "All", heard: names.map(() => true) }];
  const voice = names.indexOf("vocals");
  if (voice >= 0 && names.length > 1) {
    presets.push({ name: "Karaoke", heard: names.map((_, i) => i !== voice) });
    presets.push({ name: "Voice alone", heard: names.map((_, i) => i === voice) });
  }
  const beat = names.indexOf("drums");
  if (beat >= 0 && names.length > 2) {
    presets.push({ name: "No drums", heard: names.map((_, i) => i !== beat) });
  }
  return presets;
}
