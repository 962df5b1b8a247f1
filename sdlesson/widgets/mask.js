// A picture to paint on with a mouse, a finger or a pen. The mask lives in a canvas of the
// picture's own size, and goes to Python as a PNG when the brush is lifted.

const SHOWN_PX = 384;
const TINT = "rgb(255, 40, 120)";

function render({ model, el }) {
  const width = model.get("width");
  const height = model.get("height");
  const scale = SHOWN_PX / Math.max(width, height);

  const mask = canvasOf(width, height);
  const brush = mask.getContext("2d");
  brush.lineCap = brush.lineJoin = "round";
  brush.strokeStyle = "white";

  const picture = new Image();
  picture.src = model.get("picture");
  const shown = canvasOf(Math.round(width * scale), Math.round(height * scale));
  shown.style.cssText = "touch-action: none; cursor: crosshair; max-width: 100%";
  shown.setAttribute("role", "img");
  shown.setAttribute("aria-label", model.get("label"));
  const screen = shown.getContext("2d");

  function show() {
    screen.globalAlpha = 1;
    screen.drawImage(picture, 0, 0, shown.width, shown.height);
    const tint = canvasOf(width, height);
    const paint = tint.getContext("2d");
    paint.drawImage(mask, 0, 0);
    paint.globalCompositeOperation = "source-in";
    paint.fillStyle = TINT;
    paint.fillRect(0, 0, width, height);
    screen.globalAlpha = 0.6;
    screen.drawImage(tint, 0, 0, shown.width, shown.height);
  }

  function send(png) {
    model.set("drawn", png);
    model.save_changes();
  }

  function position(event) {
    const box = shown.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    return [x, y];
  }

  let before = null;
  function stroke(event) {
    const now = position(event);
    brush.lineWidth = Number(size.value);
    brush.beginPath();
    brush.moveTo(...(before ?? now));
    brush.lineTo(...now);
    brush.stroke();
    before = now;
    show();
  }

  shown.addEventListener("pointerdown", (event) => {
    shown.setPointerCapture(event.pointerId);
    stroke(event);
  });
  shown.addEventListener("pointermove", (event) => {
    if (before) stroke(event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    shown.addEventListener(end, () => {
      if (!before) return;
      before = null;
      send(mask.toDataURL("image/png"));
    });
  }

  const size = document.createElement("input");
  Object.assign(size, { type: "range", min: 2, max: Math.round(Math.max(width, height) / 3) });
  size.value = model.get("brush");
  const label = document.createElement("label");
  label.append(model.get("brush_label") + " ", size);
  const clear = document.createElement("button");
  clear.textContent = model.get("clear_label");
  clear.addEventListener("click", () => {
    brush.clearRect(0, 0, width, height);
    show();
    send("");
  });

  const tools = document.createElement("div");
  tools.style.cssText = "display: flex; gap: 16px; align-items: center; padding: 4px 0";
  tools.append(label, clear);
  el.append(shown, tools);

  picture.onload = show;
  if (model.get("drawn")) {
    // shown a second time: what was drawn is still there
    const old = new Image();
    old.onload = () => {
      brush.drawImage(old, 0, 0);
      show();
    };
    old.src = model.get("drawn");
  }
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  return canvas;
}

export default { render };
