// What every picture needs: a canvas as sharp as the screen, and colours of the theme.

/** Fit a canvas to its place. Returns its context and its size in CSS pixels. */
export function fitted(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** A colour of the style sheet as it is at an element, as in colour(lane, "--stem"). */
export function colour(element, name) {
  return getComputedStyle(element).getPropertyValue(name).trim();
}
