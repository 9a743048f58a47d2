"""How far our metrics are from those of the field's tools, on the same features and images.

    python benchmarks/references.py

Prints a table. Features are random, skewed as those of a network after its last ReLU; the Inception
network has random weights. The tests in `tests/metrics/test_field_metrics.py` and
`tests/metrics/test_inception.py` hold the differences down, and of pairs of images those in
`tests/metrics/test_efficientnet_lite.py`, `test_vgg.py` and `test_similarity.py`.

Needs `pip install 'vaegan-zoo[references]'`.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import convert_efficientnet  # beside this file
import evaluation  # beside this file; TensorFlow goes first
import lpips
import numpy as np
import prdc
import pytorch_fid.fid_score
import torch
import torchvision
from cleanfid.resize import build_resizer
from efficientnet_lite_pytorch import EfficientNet
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from zoo import metrics
from zoo.io.torch_files import read_state_dict
from zoo.metrics.efficientnet_lite import assign, efficientnet_lite0
from zoo.metrics.features import inception_features
from zoo.metrics.inception import inception, set_weights
from zoo.metrics.perceptual import level_distance
from zoo.metrics.resizing import RESIZES
from zoo.metrics.vgg import LINEAR, vgg16_levels

Row = tuple[str, str, float]


def main() -> None:
    """Prints the table."""
    print("| what | beside | largest relative difference |", "| --- | --- | --- |", sep="\n")
    for what, beside, difference in [
        *of_metrics(),
        *of_resizings(),
        *of_inception(),
        *of_efficientnet(),
        *of_pairs(),
    ]:
        print(f"| {what} | {beside} | {difference:.1e} |", flush=True)


def of_metrics(n: int = 3000, dim: int = 256) -> list[Row]:
    """Metrics of the same float32 features."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    both = np.maximum(rng.normal(size=(2, n, dim)) @ mixing + 0.3, 0.0).astype(np.float32)
    real, fake = both[0], both[1] * np.float32(1.1)
    tensors = torch.from_numpy(fake), torch.from_numpy(real)
    fid = metric_fid.fid_statistics_to_metric(
        *map(metric_fid.fid_features_to_statistics, tensors), verbose=False
    )
    kid = metric_kid.kid_features_to_metric(*tensors, verbose=False, rng_seed=0)
    prc = metric_prc.prc_features_to_metric(*tensors, verbose=False)
    with contextlib.redirect_stdout(io.StringIO()):
        manifold = prdc.compute_prdc(real, fake, nearest_k=5)
    pytorch_fid.fid_score.linalg = evaluation.SquareRoot
    moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (real, fake)]
    by_pytorch_fid = pytorch_fid.fid_score.calculate_frechet_distance(*moments[0], *moments[1])
    logits = torch.from_numpy(rng.normal(0.0, 3.0, (n, 1008)))
    isc = metric_isc.isc_features_to_metric(logits)
    frechet = metrics.frechet_distance(real, fake)
    ours = metrics.kernel_distance_over_subsets(real, fake, seed=0)
    score = metrics.inception_score(logits.softmax(dim=1), seed=2020)
    return [
        _row("FID", "torch-fidelity", frechet, fid["frechet_inception_distance"]),
        _row("FID", "pytorch-fid", frechet, by_pytorch_fid),
        _row("KID, 100 subsets", "torch-fidelity", ours, list(kid.values())),
        _row("Inception score", "torch-fidelity", score, list(isc.values())),
        _row(
            "precision, recall",
            "torch-fidelity",
            metrics.precision_recall(real, fake),
            [prc["precision"], prc["recall"]],
        ),
        _row(
            "density, coverage",
            "prdc",
            metrics.density_coverage(real, fake),
            [manifold["density"], manifold["coverage"]],
        ),
    ]


def of_resizings() -> list[Row]:
    """Resizings to 299 × 299; differences are shares of 255 levels."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 48, 3), np.uint8)
    channels_first = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32))
    tf1 = interpolate_bilinear_2d_like_tensorflow1x(
        channels_first, size=(299, 299), align_corners=False
    )
    clean = np.stack([build_resizer("clean")(image) for image in pixels])
    wanted = {"tf1-bilinear": tf1.permute(0, 2, 3, 1).numpy(), "clean": clean}
    return [
        _row(f"resize {name}", beside, np.asarray(RESIZES[name](pixels, 299)), wanted[name])
        for name, beside in (("tf1-bilinear", "torch-fidelity"), ("clean", "clean-fid"))
    ]


def of_inception() -> list[Row]:
    """Features and class probabilities of the same images and weights."""
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        weights = evaluation.random_weights(Path(folder) / "inception.pth")
        reference = FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], str(weights))
        network = inception()
        set_weights(network, read_state_dict(weights))
    extractor = inception_features(network, "tf1-bilinear")
    with torch.no_grad():
        features, logits = reference(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    as_floats = images / np.float32(255.0)
    classes = extractor.predict(as_floats)
    return [
        _row("Inception features", "torch-fidelity", extractor(as_floats), features),
        _row("Inception classes", "torch-fidelity", classes, logits.softmax(1)),
    ]


def of_efficientnet() -> list[Row]:
    """Features and logits of the published weights, before kernels were rounded to float16."""
    reference = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = torch.load(convert_efficientnet.installed(), weights_only=True)
    reference.load_state_dict(weights)
    network = efficientnet_lite0()
    assign(network, convert_efficientnet.from_torch(weights))
    images = np.random.default_rng(0).random((4, 224, 224, 3), np.float32)
    ours = network(images, training=False)
    with torch.no_grad():
        x = torch.from_numpy((255.0 * images - 127.0) / 128.0).float().permute(0, 3, 1, 2)
        features, logits = reference.extract_features(x).mean(dim=(2, 3)), reference(x)
    beside = "efficientnet-lite-pytorch"
    return [
        _row("EfficientNet-Lite0 features", beside, ours["features"], features),
        _row("EfficientNet-Lite0 logits", beside, ours["logits"], logits),
    ]


def of_pairs() -> list[Row]:
    """Similarities of the same pairs of images; LPIPS with random weights of VGG16."""
    rng = np.random.default_rng(0)
    images = rng.random((8, 64, 48, 3), np.float32)
    others = np.clip(images + 0.1 * rng.standard_normal(images.shape), 0, 1).astype(np.float32)
    pairs = list(zip(images, others, strict=True))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    psnr = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    ssim = [structural_similarity(a, b, data_range=1, channel_axis=-1, **window) for a, b in pairs]
    torch.manual_seed(0)
    vgg = torchvision.models.vgg16(weights=None)
    reference = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    linear = Path(lpips.__file__).parent / "weights" / "v0.1" / "vgg.pth"
    reference.load_state_dict(torch.load(linear, "cpu", weights_only=True), strict=False)
    for i in range(1, 6):  # its parts keep torchvision's numbers
        for name, layer in getattr(reference.net, f"slice{i}").named_children():
            layer.load_state_dict(vgg.features[int(name)].state_dict())
    network = vgg16_levels({name: x.numpy() for name, x in vgg.state_dict().items()})
    with np.load(LINEAR) as file:
        weights = list(file.values())
    with torch.no_grad():
        first, second = (torch.from_numpy(x).permute(0, 3, 1, 2) for x in (images, others))
        theirs = reference(first, second, normalize=True).ravel()
    ours = level_distance(network(images), network(others), weights)
    return [
        _row("PSNR", "scikit-image", metrics.psnr(images, others), psnr),
        _row("SSIM", "scikit-image", metrics.ssim(images, others), ssim),
        _row("LPIPS", "lpips", ours, theirs),
    ]


def _row(what: str, beside: str, ours: Any, theirs: Any) -> Row:
    """With the largest difference, as a share of the largest value."""
    ours, theirs = (np.asarray(x, np.float64) for x in (ours, theirs))
    return what, beside, float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


if __name__ == "__main__":
    main()
