// Work on the rows of a file, some rows a request.

import { h } from "./dom.js";

/**
 * Runs `work(rows, signal)` over all rows, `size` at a time. `state` has `stopped`; `progress(done)` is
 * called after each. True where it came to the end.
 */
export async function inBatches(rows, size, work, controller, progress) {
  for (let low = 0; low < rows.length; low += size) {
    if (controller.signal.aborted) return false;
    await work(rows.slice(low, low + size), controller.signal);
    progress(Math.min(low + size, rows.length));
  }
  return !controller.signal.aborted;
}

/** A bar of progress with its name. */
export function progressBar(name, total) {
  return h("progress", { max: Math.max(1, total), value: 0, "aria-label": name });
}
