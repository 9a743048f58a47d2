"""A browser draws what ONNX Runtime computes."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import zoo
from export import read_export
from export.web import SAMPLES, export_web, runtime
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo.sampling.interpolation import slerp


class Browser:
    """Headless Chromium, by its DevTools protocol over a pair of pipes."""

    def __init__(self, profile: Path) -> None:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        if chromium is None:
            pytest.skip("needs Chromium")
        (theirs, self.sink), (self.source, back) = os.pipe(), os.pipe()
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{back}', "bash", chromium, "--headless",
             "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={profile}", "--no-first-run", "--disable-background-networking",
             "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"],
            pass_fds=(theirs, back), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(back)
        self.events: list[dict[str, Any]] = []
        self.count, self.rest, self.session = 0, b"", ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        os.close(self.sink)
        os.close(self.source)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.sink, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                part = os.read(self.source, 1 << 20)
                assert part, "Chromium ended"
                self.rest += part
            answer, self.rest = self.rest.split(b"\0", 1)
            record = json.loads(answer)
            if record.get("id") == self.count:
                assert "error" not in record, record
                return record["result"]
            self.events.append(record)

    def evaluate(self, code: str, **options: Any) -> Any:
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, address: str, width: int = 1000) -> None:
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        self.call("Page.navigate", url=address)
        self.settle()

    def settle(self) -> None:
        """Waits until all pictures are drawn, or the page says that it failed."""
        code = """(() => {
            const main = document.getElementById("main");
            if (document.querySelector("#status.failed")) return true;
            return Boolean(main) && !main.hidden && main.getAttribute("aria-busy") === "false";
        })()"""
        end = time.monotonic() + 60
        while not self.evaluate(code):
            assert time.monotonic() < end, self.evaluate("document.body.innerText")
            time.sleep(0.02)

    def do(self, code: str) -> None:
        self.evaluate(f"{{ {code} }}")
        self.settle()

    def set(self, selector: str, value: object) -> None:
        """Moves a control as a user would."""
        self.do(f"""const x = document.querySelector({selector!r}); x.value = {value!r};
            for (const e of ["input", "change"]) x.dispatchEvent(new Event(e));""")

    def click(self, selector: str) -> None:
        self.do(f"document.querySelector({selector!r}).click()")

    def compute(self, name: str, **integers: int) -> dict[str, list[float]]:
        """The outputs, flat, of a function of the model that takes int32 scalars."""
        code = f"""(async () => {{
            const {{ read, functions }} = await import(new URL("model.js", document.baseURI));
            const run = functions((await read("zoo_export.json")).endpoints);
            const scalars = Object.entries({json.dumps(integers)});
            const inputs = scalars.map(([name, x]) => [name, Int32Array.of(x)]);
            const outputs = await run("{name}", Object.fromEntries(inputs));
            return Object.fromEntries(Object.entries(outputs).map(([name, x]) => [name, [...x]]));
        }})()"""
        return self.evaluate(code, awaitPromise=True)

    def pixels(self, selector: str, channels: int) -> np.ndarray:
        """The grey levels of all canvases that match, int [n, height, width, channels]."""
        measured = self.evaluate(f"""[...document.querySelectorAll({selector!r})].map((c) => {{
            // A copy, as Chromium warns of canvases that are read often.
            const own = new OffscreenCanvas(c.width, c.height);
            const pen = own.getContext("2d", {{ willReadFrequently: true }});
            pen.drawImage(c, 0, 0);
            return [c.height, c.width, ...pen.getImageData(0, 0, c.width, c.height).data];
        }})""")
        images = np.asarray([np.reshape(x[2:], (x[0], x[1], 4)) for x in measured])
        assert (images[..., 3] == 255).all()
        if channels == 1:
            assert (images[..., :1] == images[..., :3]).all()
        return images[..., :channels]

    def check_quiet(self, base: str) -> None:
        """Nothing was logged, every request stayed on the server and was answered."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        assert [e for e in self.events if e.get("method") in kinds] == []
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        addresses = [e["params"]["request"]["url"] for e in sent]
        assert f"{base}models/generate.onnx" in addresses
        assert [a for a in addresses if not a.startswith((base, "data:"))] == []
        answers = [e for e in self.events if e.get("method") == "Network.responseReceived"]
        assert {e["params"]["response"]["status"] for e in answers} == {200}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of `tmp_path`."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def release() -> None:
    try:
        runtime.fetch_runtime()
    except OSError as error:
        pytest.skip(str(error))


class Wanted:
    """What ONNX Runtime computes of the exported files, in grey levels."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, name: str, label: int = 0, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        session = onnxruntime.InferenceSession(self.path / "models" / f"{name}.onnx")
        batch = np.shape(next(iter(inputs.values())))[:1]
        labels = {"label": np.full(batch, label, np.int32)}
        names = {i.name for i in session.get_inputs()}
        feeds = {k: v for k, v in {**inputs, **labels}.items() if k in names}
        outputs = [o.name for o in session.get_outputs()]
        return dict(zip(outputs, session.run(None, feeds), strict=True))

    def images(self, latents: np.ndarray, label: int = 0) -> np.ndarray:
        return self.levels(self.run("generate", label, latent=latents)["image"])

    @staticmethod
    def levels(images: np.ndarray) -> np.ndarray:
        return np.round(np.clip(images, 0.0, 1.0) * 255.0).astype(int)


def _check(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.ptp(wanted) > 20  # a blank picture would equal another
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("dcgan", (8, 8, 1), {}),
        ("dcgan", (8, 8, 3), {}),
        ("gan", (8, 8, 1), {"num_classes": 3}),
        ("vae", (8, 8, 1), {}),
        ("cvae", (8, 8, 3), {"num_classes": 3}),
        ("vamp_prior", (8, 8, 1), {"components": 4}),
        ("vq_vae", (8, 8, 1), {"network": "grid-16", "prior_width": 8, "prior_layers": 1}),
    ],
)
def test_pixels(
    name: str,
    shape: tuple[int, int, int],
    options: dict[str, Any],
    browser: Browser,
    served: str,
    release: None,
    tmp_path: Path,
) -> None:
    model = zoo.create(name, shape, LATENT_DIM, **options)
    rng = np.random.default_rng(0)
    for weight in model.weights:  # new models draw all but grey, whatever the label
        if weight.dtype == "float32":
            low, high = (0.5, 1.5) if "variance" in weight.name else (-0.5, 0.5)
            weight.assign(rng.uniform(low, high, weight.shape))
    path = export_web(model, tmp_path / "a" / "playground")
    wanted, channels = Wanted(path), shape[-1]
    latents = model.sample_latents(SAMPLES, seed=0)
    directions = np.asarray(
        json.loads((path / "latents.json").read_text())["directions"], np.float32
    )
    base = f"{served}a/playground/"
    browser.open(base)
    _check(browser.pixels("#grid canvas", channels), wanted.images(latents[:12]))
    browser.click("#new")
    browser.click("#grid button:nth-child(4)")
    browser.set("#direction-2", 1.5)
    _check(browser.pixels("#grid canvas", channels), wanted.images(latents[12:24]))
    moved = latents[15:16] + 1.5 * directions[1]
    _check(browser.pixels("#explored", channels), wanted.images(moved))
    # Faster than pictures are drawn: the last value counts.
    browser.do("""const x = document.getElementById("weight");
        for (let i = 0; i <= 30; i++) {
            x.value = i / 100;
            x.dispatchEvent(new Event("input"));
        }""")
    ends = latents[15:16], latents[:1]
    middle = np.asarray(slerp(*ends, np.float32([[0.3]])))
    if model.prior != "standard_normal":
        middle = 0.7 * ends[0] + 0.3 * ends[1]
    three = np.concatenate([ends[0], middle, ends[1]])
    _check(browser.pixels("#from, #between, #to", channels), wanted.images(three))
    label = 0
    assert browser.evaluate("document.getElementById('class-picker').hidden") == (
        not model.num_classes
    )
    if model.num_classes:
        label = 2
        browser.set("#class", label)
        images = wanted.images(latents[12:24], label)
        _check(browser.pixels("#grid canvas", channels), images)
        _check(browser.pixels("#explored", channels), wanted.images(moved, label))
        assert np.abs(images - wanted.images(latents[12:24])).max() > 20
    found = browser.compute("sample", n=3, seed=5, label=label)
    seeded = wanted.run("sample", label, n=np.array(3, np.int32), seed=np.array(5, np.int32))
    np.testing.assert_allclose(found["image"], seeded["image"].ravel(), atol=1e-5)
    encodes = "encode" in read_export(path)["endpoints"]
    assert browser.evaluate("document.getElementById('draw').hidden") == (not encodes)
    if encodes:
        _check_drawing(browser, wanted, channels, label)
    browser.check_quiet(base)


def _check_drawing(browser: Browser, wanted: Wanted, channels: int, label: int) -> None:
    assert browser.pixels("#drawing", channels).max() == 0
    browser.do("document.getElementById('draw').scrollIntoView()")
    box = browser.evaluate("document.getElementById('drawing').getBoundingClientRect().toJSON()")
    for kind, at in (("mousePressed", 0.2), ("mouseMoved", 0.7), ("mouseReleased", 0.7)):
        browser.call(
            "Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1,
            x=box["x"] + at * box["width"], y=box["y"] + at * box["height"],
        )  # fmt: skip
    browser.settle()
    drawing = browser.pixels("#drawing", channels)
    assert drawing[0, 4, 4].min() > 200
    assert drawing[0, 0, 7].max() == 0
    image = (drawing / 255).astype(np.float32)
    found = wanted.run("reconstruct", label, image=image)["reconstruction"]
    _check(browser.pixels("#reconstruction", channels), wanted.levels(found))
    encoded = wanted.run("encode", label, image=image)
    assert browser.evaluate("document.getElementById('explore-drawing').hidden") == (
        "mean" not in encoded
    )
    if "mean" in encoded:
        browser.click("#explore-drawing")
        images = wanted.images(encoded["mean"], label)
        _check(browser.pixels("#explored", channels), images)
    browser.click("#grid button:nth-child(7)")
    browser.click("#copy")
    copied = browser.pixels("#grid button:nth-child(7) canvas", channels)
    _check(browser.pixels("#drawing", channels), copied)
    browser.click("#clear")
    assert browser.pixels("#drawing", channels).max() == 0


@pytest.mark.slow
def test_on_a_phone_and_when_a_file_is_missing(
    browser: Browser, served: str, release: None, tmp_path: Path
) -> None:
    model = zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, num_classes=3)
    path = export_web(model, tmp_path / "web")
    browser.open(f"{served}web/", width=360)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    assert browser.evaluate("innerWidth") == 360
    small = browser.evaluate("""[...document.querySelectorAll("button, select")]
        .filter((x) => x.getBoundingClientRect().height < 32).length""")
    assert small == 0
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    controls = ("button", "slider", "combobox", "image", "ColorWell")
    found = [
        (n["role"]["value"], n["name"]["value"])
        for n in nodes
        if not n["ignored"] and n["role"]["value"] in controls
    ]
    assert len(found) > 30
    assert [role for role, name in found if not name] == []
    (path / "models" / "generate.onnx").unlink()
    browser.open(f"{served}web/")
    assert "failed" in browser.evaluate("document.getElementById('status').textContent")
