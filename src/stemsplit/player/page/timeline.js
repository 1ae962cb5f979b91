// Seeking and choosing a region, with a mouse, a finger or keys.

const A_CLICK = 5; // pixels that a pointer may move in a click

/** Make lanes that seek when clicked and choose a region when dragged over. */
export function listenToLanes(lanes, { duration, onseek, onregion }) {
  const secondsAt = (lane, x) => {
    const box = lane.getBoundingClientRect();
    return Math.min(1, Math.max(0, (x - box.left) / box.width)) * duration;
  };
  for (const lane of lanes) {
    let began = null;
    lane.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.classList.contains("edge")) return;
      began = event.clientX;
      lane.setPointerCapture(event.pointerId);
    });
    lane.addEventListener("pointermove", (event) => {
      if (began === null || Math.abs(event.clientX - began) < A_CLICK) return;
      const [a, b] = [secondsAt(lane, began), secondsAt(lane, event.clientX)];
      onregion([Math.min(a, b), Math.max(a, b)], false);
    });
    lane.addEventListener("pointerup", (event) => {
      if (began === null) return;
      const [a, b] = [secondsAt(lane, began), secondsAt(lane, event.clientX)];
      if (Math.abs(event.clientX - began) < A_CLICK) onseek(b);
      else onregion([Math.min(a, b), Math.max(a, b)], true);
      began = null;
    });
    lane.addEventListener("pointercancel", () => { began = null; });
  }
}

/** Make an element with the role of a slider move by keys and, if `drag`, by a pointer. */
export function listenToSlider(slider, { duration, value, onmove, drag = true }) {
  slider.addEventListener("keydown", (event) => {
    const fine = event.shiftKey ? 0.1 : 1;
    const steps = { ArrowRight: fine, ArrowUp: fine, ArrowLeft: -fine, ArrowDown: -fine, PageUp: 10, PageDown: -10 };
    const places = { Home: 0, End: duration };
    if (event.key in steps) onmove(value() + steps[event.key], true);
    else if (event.key in places) onmove(places[event.key], true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  if (!drag) return;
  let held = false;
  const move = (event, last) => {
    const box = slider.parentElement.getBoundingClientRect();
    onmove(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * duration, last);
  };
  slider.addEventListener("pointerdown", (event) => {
    held = true;
    slider.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  slider.addEventListener("pointermove", (event) => { if (held) move(event, false); });
  slider.addEventListener("pointerup", (event) => {
    if (held) move(event, true);
    held = false;
  });
}
