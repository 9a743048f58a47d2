// What every part of the page needs: its elements, its jobs, its pictures.

export const find = (id) => document.getElementById(id);

let busy = 0;

/** Runs `job`; all calls that come while it runs make one more run at its end. */
export function latest(job) {
  let running = false;
  let again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    mark(1);
    try {
      while (again) {
        again = false;
        await job();
      }
    } catch (error) {
      fail(error);
    }
    running = false;
    mark(-1);
  };
}

function mark(change) {
  busy += change;
  find("main").setAttribute("aria-busy", String(busy > 0));
}

export function fail(error) {
  console.error(error);
  find("status").textContent = `It failed: ${error.message ?? error}`;
  find("status").className = "failed";
  find("status").hidden = false;
}

/** Images [height, width, channels] in [0, 1] to the pixels of a canvas, and back. */
export function pictures([height, width, channels]) {
  const size = height * width * channels;

  function paint(canvas, image) {
    canvas.width = width;
    canvas.height = height;
    const pixels = new ImageData(width, height);
    pixels.data.fill(255);
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) {
        // What is stored is clipped, and rounded as NumPy does.
        pixels.data[4 * i + c] = 255 * image[channels === 3 ? 3 * i + c : i];
      }
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  function read(canvas) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return Float32Array.from({ length: size }, (_, i) =>
      data[4 * Math.floor(i / channels) + (i % channels)] / 255,
    );
  }

  return { paint, read, size };
}
