// The part of the page for models that encode: a drawing, and its reconstruction.
import { find, latest } from "./view.js";

/**
 * Shows the part.
 *
 * `encode(image)` and `reconstruct(image)` are the model's, or `encode` is null where it gives no
 * latents; `copy(canvas)` paints the chosen sample, `explore(latent)` goes on from a drawing.
 * Returns what reconstructs the drawing anew.
 */
export function showDrawing([height, width, channels], picture, actions) {
  const canvas = find("drawing");
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  let at = null;

  const show = latest(async () => {
    picture.paint(find("reconstruction"), await actions.reconstruct(picture.read(canvas)));
  });

  function colour() {
    const { value } = find("ink");
    return channels === 3 ? value : `rgb(${value} ${value} ${value})`;
  }

  function position(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return [(x / box.width) * width, (y / box.height) * height];
  }

  function stroke(event) {
    if (!at) return;
    Object.assign(pen, { strokeStyle: colour(), lineWidth: find("width").value, lineCap: "round" });
    pen.beginPath();
    pen.moveTo(...at);
    at = position(event);
    pen.lineTo(...at);
    pen.stroke();
    show();
  }

  function fill(style) {
    pen.fillStyle = style;
    pen.fillRect(0, 0, width, height);
    show();
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    at = position(event);
    stroke(event); // a dot
  });
  canvas.addEventListener("pointermove", stroke);
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (at = null));
  }

  if (channels === 1) Object.assign(find("ink"), { type: "range", max: 255, value: 255 });
  find("fill").addEventListener("click", () => fill(colour()));
  find("clear").addEventListener("click", () => fill("black"));
  const copy = latest(async () => {
    await actions.copy(canvas);
    show();
  });
  find("copy").addEventListener("click", copy);
  find("explore-drawing").hidden = !actions.encode;
  const explore = latest(async () => actions.explore(await actions.encode(picture.read(canvas))));
  find("explore-drawing").addEventListener("click", explore);

  find("draw").hidden = false;
  fill("black");
  return show;
}
