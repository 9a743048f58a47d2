"""LPIPS against its authors' package, with random weights of VGG16."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from zoo import metrics
from zoo.io import downloads
from zoo.io.files import sha256
from zoo.metrics import vgg


def test_linear_weights_are_those_of_the_paper() -> None:
    """One for each channel of five levels, none negative (section 3 of arXiv 1801.03924)."""
    with np.load(vgg.LINEAR, allow_pickle=False) as file:
        weights = [file[f"level_{i}"] for i in range(1, 6)]
    assert [len(w) for w in weights] == [channels for _, channels in vgg.BLOCKS]
    assert all((w >= 0.0).all() and w.any() and w.dtype == np.float32 for w in weights)
    assert "Richard Zhang" in (vgg.LINEAR.parent / "LICENSE").read_text(encoding="utf-8")


def test_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vgg16.pth").write_bytes(b"others")
    images = np.zeros((1, 16, 16, 3))
    with pytest.raises(ValueError, match=r"vgg16\.pth has sha256 .*download\.pytorch\.org"):
        metrics.lpips(images, images, weights=tmp_path / "vgg16.pth")


def test_without_a_network_it_says_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(url: str, part: Path, sha256: str, token: str | None) -> None:
        raise ConnectionError(f"{url}: no route.")

    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "download", unreachable)
    images = np.zeros((1, 16, 16, 3))
    with pytest.raises(ConnectionError, match=r"vgg16-397923af\.pth .*weights=FILE"):
        metrics.lpips(images, images)


# In a process of its own: torchvision cannot be imported where TensorFlow is.
REFERENCE = """
import sys
from pathlib import Path
import lpips, numpy as np, torch, torchvision

folder = Path(sys.argv[1])
torch.manual_seed(0)
network = torchvision.models.vgg16(weights=None)
torch.save(network.state_dict(), folder / "vgg16.pth")
reference = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
linear = Path(lpips.__file__).parent / "weights" / "v0.1" / "vgg.pth"
reference.load_state_dict(torch.load(linear, map_location="cpu", weights_only=True), strict=False)
for i in range(1, 6):  # its parts keep torchvision's numbers
    for name, layer in getattr(reference.net, f"slice{i}").named_children():
        layer.load_state_dict(network.features[int(name)].state_dict())
with np.load(folder / "images.npz") as file, torch.no_grad():
    found = {}
    for name, pair in file.items():
        coloured = pair.repeat(3 // pair.shape[-1], axis=-1)
        first, second = torch.from_numpy(coloured).permute(0, 1, 4, 2, 3)
        found[name] = reference(first, second, normalize=True).numpy().ravel()
np.savez(folder / "expected.npz", **found)
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lpips") is None, reason="the package lpips is not installed")
def test_against_its_authors_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"small": (12, 32, 32, 3), "oblong": (2, 64, 48, 3), "grey": (3, 17, 40, 1)}
    rng = np.random.default_rng(0)
    images = {name: rng.random((2, *shape), np.float32) for name, shape in shapes.items()}
    np.savez(tmp_path / "images.npz", **images)
    subprocess.run([sys.executable, "-c", REFERENCE, str(tmp_path)], check=True)
    weights = tmp_path / "vgg16.pth"
    monkeypatch.setattr(vgg, "SHA256", sha256(weights))
    with np.load(tmp_path / "expected.npz") as expected:
        for name, (first, second) in images.items():
            distances = metrics.lpips(first, second, weights=weights)
            np.testing.assert_allclose(distances, expected[name], rtol=1e-5)
            np.testing.assert_array_equal(metrics.lpips(first, first, weights=weights), 0.0)
