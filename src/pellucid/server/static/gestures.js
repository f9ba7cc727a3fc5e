// Zooms, pans and moves the divider by pointer, wheel and keys.

/** How near a pointer must come to the divider to take hold of it, in CSS pixels. */
const REACH_PX = 22;
const PAN_STEP_PX = 60;

/** Make a stage answer to pointers, the wheel and keys. */
export function attachGestures(view, divider, stage) {
  attachPointers(view, stage);
  view.addEventListener('wheel', (event) => wheel(event, view, stage), { passive: false });
  view.addEventListener('keydown', (event) => {
    if (event.target !== divider && arrowPans(event, stage)) event.preventDefault();
    else if (zoomKey(event, stage)) event.preventDefault();
  });
  divider.addEventListener('keydown', (event) => {
    if (dividerKey(event, stage)) event.preventDefault();
  });
}

function place(event, view) {
  const box = view.getBoundingClientRect();
  const ratio = window.devicePixelRatio;
  return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
}

function attachPointers(view, stage) {
  const pointers = new Map();
  let isDividing = false;

  view.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    view.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event, view));
    if (pointers.size > 1) isDividing = false;
    else isDividing = takesDivider(pointers.get(event.pointerId), stage);
    if (isDividing) stage.moveDividerTo(pointers.get(event.pointerId).x);
    view.classList.add(isDividing ? 'is-dividing' : 'is-panning');
  });
  view.addEventListener('pointermove', (event) => {
    const from = pointers.get(event.pointerId);
    if (!from) return;
    const to = place(event, view);
    pointers.set(event.pointerId, to);
    if (isDividing) {
      stage.moveDividerTo(to.x);
      return;
    }
    if (pointers.size === 1) stage.viewport.panBy(to.x - from.x, to.y - from.y);
    else pinch(from, to, [...pointers].find(([id]) => id !== event.pointerId)[1], stage);
    stage.moved();
  });
  for (const end of ['pointerup', 'pointercancel']) {
    view.addEventListener(end, (event) => {
      pointers.delete(event.pointerId);
      view.classList.remove('is-dividing', 'is-panning');
    });
  }
  view.addEventListener('dblclick', (event) => {
    if (stage.viewport.isFitted) stage.viewport.zoomTo(Math.max(1, 2 * stage.viewport.fitZoom), place(event, view));
    else stage.viewport.fit();
    stage.moved();
  });
}

/** A pointer near the divider moves it; so does one anywhere while there is nothing to pan. */
function takesDivider(at, stage) {
  if (!stage.canCompare || stage.look.mode !== 'compare') return false;
  return !stage.viewport.canPan || Math.abs(at.x - stage.dividerX) < REACH_PX * window.devicePixelRatio;
}

function pinch(from, to, other, stage) {
  const spread = Math.hypot(to.x - other.x, to.y - other.y) / Math.max(1, Math.hypot(from.x - other.x, from.y - other.y));
  stage.viewport.zoomTo(stage.viewport.zoom * spread, { x: (from.x + other.x) / 2, y: (from.y + other.y) / 2 });
  stage.viewport.panBy((to.x - from.x) / 2, (to.y - from.y) / 2);
}

function wheel(event, view, stage) {
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  // Two fingers that pinch a trackpad come as a wheel with the control key, in smaller steps.
  const speed = event.ctrlKey ? 0.01 : 0.0018;
  stage.viewport.zoomTo(stage.viewport.zoom * Math.exp(-event.deltaY * lines * speed), place(event, view));
  stage.moved();
}

function zoomKey(event, stage) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const { viewport } = stage;
  if (event.key === '+' || event.key === '=') viewport.step(1);
  else if (event.key === '-') viewport.step(-1);
  else if (event.key === '0') viewport.fit();
  else if (event.key === '1') viewport.zoomTo(1);
  else return false;
  stage.moved();
  return true;
}

function arrowPans(event, stage) {
  const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const move = moves[event.key];
  if (!move) return false;
  const step = PAN_STEP_PX * window.devicePixelRatio;
  stage.viewport.panBy(move[0] * step, move[1] * step);
  stage.moved();
  return true;
}

function dividerKey(event, stage) {
  const step = event.shiftKey ? 0.1 : 0.01;
  const { split } = stage.look;
  const to = {
    ArrowLeft: split - step, ArrowDown: split - step, ArrowRight: split + step, ArrowUp: split + step,
    PageDown: split - 0.1, PageUp: split + 0.1, Home: 0, End: 1,
  }[event.key];
  if (to === undefined) return false;
  stage.set({ split: Math.min(1, Math.max(0, to)) });
  return true;
}
