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

/**
 * Images [height, width, channels] in [0, 1] to the pixels of a canvas; and back, of 1 or 3 channels.
 *
 * Two channels are two grey panels, side by side; of three and more the first three are drawn.
 */
export function pictures([height, width, channels]) {
  const size = height * width * channels;
  const panels = channels === 2 ? 2 : 1;

  function paint(canvas, image) {
    canvas.width = panels * width;
    canvas.height = height;
    const pixels = new ImageData(canvas.width, height);
    pixels.data.fill(255);
    for (let i = 0; i < height * canvas.width; i++) {
      const [row, x] = [Math.floor(i / canvas.width), i % canvas.width];
      const first = channels * (row * width + (x % width)) + Math.floor(x / width);
      for (let c = 0; c < 3; c++) {
        // What is stored is clipped, and rounded as NumPy does.
        pixels.data[4 * i + c] = 255 * image[channels < 3 ? first : first + c];
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
