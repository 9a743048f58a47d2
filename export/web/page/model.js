// The exported model, and arithmetic of latents.
import * as ort from "./onnxruntime/ort.js";

const url = (name) => new URL(name, import.meta.url).href;

ort.env.wasm.numThreads = 1; // threads need headers that a plain server does not send
ort.env.wasm.wasmPaths = { wasm: url("onnxruntime/ort.wasm") };

export async function read(name) {
  const answer = await fetch(url(name));
  if (!answer.ok) throw new Error(`${name}: the server answered ${answer.status}`);
  return answer.json();
}

/** The functions of `endpoints` of zoo_export.json: run(name, inputs) → outputs, by tensors' names. */
export function functions(endpoints) {
  const sessions = new Map();
  let last = Promise.resolve(); // a session takes one call at a time

  async function compute(name, inputs) {
    if (!sessions.has(name)) {
      sessions.set(name, await ort.InferenceSession.create(url(`models/${name}.onnx`)));
    }
    const feeds = {};
    for (const [tensor, { shape, dtype }] of Object.entries(endpoints[name].inputs)) {
      const data = inputs[tensor];
      const one = shape.reduce((product, size) => (size === "batch" ? product : product * size), 1);
      const dims = shape.map((size) => (size === "batch" ? data.length / one : size));
      feeds[tensor] = new ort.Tensor(dtype, data, dims);
    }
    const outputs = await sessions.get(name).run(feeds);
    return Object.fromEntries(Object.entries(outputs).map(([tensor, { data }]) => [tensor, data]));
  }

  return (name, inputs) => {
    const job = last.then(() => compute(name, inputs));
    last = job.catch(() => {});
    return job;
  };
}

/** Latents one after the other, as a batch. */
export function batch(latents) {
  const size = latents[0].length;
  const all = new Float32Array(latents.length * size);
  latents.forEach((latent, i) => all.set(latent, i * size));
  return all;
}

/** The latent moved by an amount along each direction. */
export function along(latent, directions, amounts) {
  return Float32Array.from(latent, (x, j) =>
    directions.reduce((sum, direction, i) => sum + amounts[i] * direction[j], x),
  );
}

export function linear(first, second, t) {
  return Float32Array.from(first, (x, j) => (1 - t) * x + t * second[j]);
}

/** On the great circle (arXiv 1609.04468): it keeps to the shell where N(0, I) latents lie. */
export function spherical(first, second, t) {
  const dot = (a, b) => a.reduce((sum, x, j) => sum + x * b[j], 0);
  const cosine = dot(first, second) / Math.sqrt(dot(first, first) * dot(second, second));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  if (!(sine >= 1e-3)) return linear(first, second, t); // parallel, or a latent of zeros
  const [rest, weight] = [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  return Float32Array.from(first, (x, j) => rest * x + weight * second[j]);
}
