// Requests to the server: the key, retries, faults in words.

import { announce, byId, showProblem } from "./dom.js";

const KEY = "xrt-key";
const MOST_TRIES = 40;

/** A fault that the server told, or that the network made. */
export class Fault extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** The address of a model's route, relative to the page. */
export const ofModel = (name, route) => `v1/models/${encodeURIComponent(name)}/${route}`;

/** JSON of a route; `body` makes it a POST. `signal` gives it up: then AbortError is thrown. */
export async function ask(path, { body, signal } = {}) {
  for (let number = 1; ; number += 1) {
    const key = sessionStorage.getItem(KEY);
    const response = await send(path, key, body, signal);
    if (response.ok) {
      if (number > 1) showProblem(null);
      return response.json();
    }
    if (response.status === 401) {
      // another request may have asked for it meanwhile
      if (sessionStorage.getItem(KEY) === key) await askForKey(key !== null);
    } else if ((response.status === 429 || response.status === 503) && number < MOST_TRIES && response.headers.has("Retry-After")) {
      await waitFor(response, signal);
    } else {
      throw new Fault(await inWords(response), response.status);
    }
  }
}

async function send(path, key, body, signal) {
  const headers = { Accept: "application/json" };
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  const request = { headers, signal, cache: "no-store" };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    Object.assign(request, { method: "POST", body: JSON.stringify(body) });
  }
  try {
    return await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault("The server does not answer. Is it running, and is the network up?");
  }
}

async function waitFor(response, signal) {
  const seconds = Math.min(30, Math.max(1, Number(response.headers.get("Retry-After")) || 1));
  const why = response.status === 429 ? "The server is busy" : await inWords(response);
  showProblem(`${why.replace(/\.$/, "")}. Trying again in ${seconds} s …`);
  await new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("given up", "AbortError"));
    });
  });
}

async function inWords(response) {
  try {
    const problem = await response.clone().json();
    if (typeof problem.detail === "string" && problem.detail) return problem.detail;
  } catch {
    // no JSON: a proxy between the page and the server has answered
  }
  return `The server answered ${response.status} ${response.statusText}`.trim();
}

let asking = null;

/** Asks for the key, once however many requests wait for it. */
function askForKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    const input = byId("key");
    byId("key-note").textContent = wasWrong
      ? "The server does not know this key. Check it and try again."
      : "It stays in this tab and is gone when the tab is closed.";
    input.value = "";
    const onCancel = (event) => event.preventDefault();
    dialog.addEventListener("cancel", onCancel);
    byId("key-form").onsubmit = () => {
      sessionStorage.setItem(KEY, input.value.trim());
      byId("forget-key").hidden = false;
      dialog.removeEventListener("cancel", onCancel);
      asking = null;
      resolve();
    };
    dialog.showModal();
    input.focus();
    announce("This server asks for a key");
  });
  return asking;
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;
export const forgetKey = () => sessionStorage.removeItem(KEY);

/** The latest of several requests: a new one gives the one before it up, whose answer is dropped. */
export class Latest {
  #controller = null;

  /** The answer of `work(signal)`, or undefined where a later one has begun. */
  async run(work) {
    this.stop();
    const controller = new AbortController();
    this.#controller = controller;
    try {
      const answer = await work(controller.signal);
      return controller.signal.aborted ? undefined : answer;
    } catch (error) {
      if (controller.signal.aborted || error.name === "AbortError") return undefined;
      throw error;
    }
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
  }
}

/** Runs something whose fault is shown in words; the result, or undefined after a fault. */
export async function told(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (!(error instanceof Fault)) console.error(error);
    showProblem(error.message);
    return undefined;
  }
}
