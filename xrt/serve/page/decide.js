// Decisions on their way to the server, one request after the other.

import { ask, ofModel } from "./api.js";

let chain = Promise.resolve();

/** Comes when all decisions that were made so far are kept, or were refused. */
export const settled = () => chain;

/** Keeps decisions on the server, in the order in which they were made. Rejects with a Fault where that fails. */
export function decide(model, decisions) {
  const sent = chain.then(() => ask(ofModel(model, "decisions"), { body: { decisions } }));
  chain = sent.catch(() => {});
  return sent;
}
