// What the page carries: the song as JSON, numbers and sounds as base64.

/** The song: title, seconds, stems, melody; see player/page.py. */
export function readSong() {
  return JSON.parse(document.getElementById("song").textContent);
}

/** Bytes of a base64 text. */
export function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** The Ogg Opus file of a stem that is inside this page. */
export function soundOf(index) {
  return bytesOf(document.getElementById(`sound-${index}`).textContent);
}

/** 83.25 → "1:23", with tenths "1:23.2". */
export function clock(seconds, tenths = false) {
  const unit = tenths ? 10 : 1;
  const whole = Math.floor(Math.max(0, seconds) * unit + 1e-6);
  const minutes = Math.floor(whole / unit / 60);
  const rest = whole - minutes * 60 * unit;
  const text = `${minutes}:${String(Math.floor(rest / unit)).padStart(2, "0")}`;
  return tenths ? `${text}.${rest % 10}` : text;
}
