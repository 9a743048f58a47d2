// The page: what is chosen, and the pictures of it.
import { showDrawing } from "./drawing.js";
import { along, batch, functions, linear, read, spherical } from "./model.js";
import { fail, find, latest, pictures } from "./view.js";

const PER_GRID = 12;
const REACH = 3; // of a slider, to either side

async function start() {
  const [about, latents] = await Promise.all([read("zoo_export.json"), read("latents.json")]);
  const run = functions(about.endpoints);
  const picture = pictures(about.image_shape);
  const samples = latents.samples.map((latent, i) => ({ latent, name: `Sample ${i + 1}` }));
  const between = about.prior === "standard_normal" ? spherical : linear;
  const chosen = { explored: samples[0], from: samples[0], to: samples[1], first: 0 };

  const label = (n) => new Int32Array(n).fill(Number(find("class").value));

  async function generate(list, canvases) {
    const inputs = { latent: batch(list), label: label(list.length) };
    const { image } = await run("generate", inputs);
    canvases.forEach((canvas, i) => picture.paint(canvas, image.subarray(i * picture.size)));
  }

  // Samples

  const buttons = Array.from({ length: PER_GRID }, (_, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(document.createElement("canvas"));
    button.addEventListener("click", () => {
      chosen.to = chosen.from;
      chosen.from = samples[chosen.first + i];
      explore(chosen.from);
      showInterpolation();
    });
    find("grid").append(button);
    return button;
  });

  const showSamples = latest(async () => {
    const shown = samples.slice(chosen.first, chosen.first + PER_GRID);
    const [first, last] = [chosen.first + 1, chosen.first + PER_GRID];
    find("which").textContent = `${first} to ${last} of ${samples.length}`;
    buttons.forEach((button, i) => button.setAttribute("aria-label", shown[i].name));
    markExplored();
    const canvases = buttons.map((button) => button.firstChild);
    await generate(shown.map((sample) => sample.latent), canvases);
  });

  function markExplored() {
    buttons.forEach((button, i) => {
      const pressed = samples[chosen.first + i] === chosen.explored;
      button.setAttribute("aria-pressed", String(pressed));
    });
  }

  find("new").addEventListener("click", () => {
    chosen.first = (chosen.first + PER_GRID) % samples.length;
    showSamples();
  });

  // Explore

  const sliders = latents.shares.map((share, i) => {
    const row = document.createElement("div");
    row.className = "slider";
    const text = document.createElement("label");
    text.htmlFor = `direction-${i + 1}`;
    text.textContent = `Direction ${i + 1}: ${Math.round(100 * share)} % of the change`;
    const input = document.createElement("input");
    input.id = text.htmlFor;
    Object.assign(input, { type: "range", min: -REACH, max: REACH, step: 0.05, value: 0 });
    input.addEventListener("input", () => showExplored());
    row.append(text, document.createElement("output"), input);
    find("sliders").append(row);
    return input;
  });

  const showExplored = latest(async () => {
    const amounts = sliders.map((slider) => slider.valueAsNumber);
    sliders.forEach((slider, i) => (slider.previousSibling.value = amounts[i].toFixed(2)));
    find("explored-name").textContent = chosen.explored.name;
    const moved = along(chosen.explored.latent, latents.directions, amounts);
    await generate([moved], [find("explored")]);
  });

  function explore(sample) {
    chosen.explored = sample;
    for (const slider of sliders) slider.value = 0;
    markExplored();
    showExplored();
  }

  find("reset").addEventListener("click", () => explore(chosen.explored));

  // Interpolate

  const showInterpolation = latest(async () => {
    const [from, to, weight] = [chosen.from, chosen.to, find("weight").valueAsNumber];
    find("from-name").textContent = from.name;
    find("to-name").textContent = to.name;
    find("weight").previousElementSibling.value = weight.toFixed(2);
    const middle = between(from.latent, to.latent, weight);
    await generate([from.latent, middle, to.latent], ["from", "between", "to"].map(find));
  });

  find("weight").addEventListener("input", showInterpolation);

  // Classes

  const nameOf = (i) => about.class_names?.[i] ?? i;
  for (let i = 0; i < (about.num_classes ?? 0); i++) find("class").add(new Option(nameOf(i), i));
  find("class-picker").hidden = !about.num_classes;
  const shows = [showSamples, showExplored, showInterpolation];
  find("class").addEventListener("change", () => shows.forEach((show) => show()));

  // Draw

  const { encode, reconstruct } = about.endpoints;
  const drawn = [1, 3].includes(about.image_shape[2]); // a pen has no other channels
  if (drawn && encode && reconstruct) {
    const inputs = (image) => ({ image, label: label(1) });
    const actions = {
      reconstruct: async (image) => (await run("reconstruct", inputs(image))).reconstruction,
      encode: encode.outputs.mean && (async (image) => (await run("encode", inputs(image))).mean),
      copy: (canvas) => generate([chosen.explored.latent], [canvas]),
      explore: (latent) => explore({ latent, name: "Your drawing" }),
    };
    shows.push(showDrawing(about.image_shape, picture, actions));
  }

  document.title = `${about.model} playground`;
  find("name").textContent = document.title;
  const [height, width] = about.image_shape;
  find("summary").textContent =
    `${width} × ${height} pixels from ${about.latent_dim} numbers. All is computed in this browser.`;
  const { "vaegan-zoo": zoo, "onnxruntime-web": runtime } = about.versions;
  find("made").textContent = `vaegan-zoo ${zoo}, ONNX Runtime Web ${runtime}`;
  await Promise.all([showSamples(), showExplored(), showInterpolation()]);
  find("status").hidden = find("status").className !== "failed";
  find("main").hidden = false;
}

start().catch(fail);
