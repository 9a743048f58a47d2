"""ADA's transforms against SciPy's geometry, the paper's matrices in NumPy, and closed forms."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.spatial.transform
import tensorflow as tf

from zoo.layers import ada, warp

RNG = np.random.default_rng(0)
N = 12
SHAPE = (10, 14, 3)
IMAGES = RNG.random((N, *SHAPE)).astype(np.float32)
PIXELS = RNG.normal(size=IMAGES.shape).astype(np.float32)
UNIFORM = RNG.random((N, ada.UNIFORM_DRAWS)).astype(np.float32)
NORMAL = RNG.normal(size=(N, ada.NORMAL_DRAWS)).astype(np.float32)
ATOL = 2e-5  # float32's roundings of positions, times the contrast between pixels


def _values(p: float = 1.0, *, square: bool = False) -> dict[str, np.ndarray]:
    found = ada.parameters(tf.constant(p), UNIFORM, NORMAL, square=square)
    return {name: np.asarray(value) for name, value in found.items()}


def _uniform(n: int, **columns: Any) -> np.ndarray:
    """Draws with which nothing happens for p ≤ 0.99, but for the columns given."""
    uniform = np.full((n, ada.UNIFORM_DRAWS), 0.999, np.float32)
    names = [*(f"chance_{name}" for name in ada.CHANCES), *ada.UNIFORM]
    for name, values in columns.items():
        uniform[:, names.index(name)] = values
    return uniform


# What happens


def test_nothing_happens_at_zero() -> None:
    """Bit for bit, in every transform, grey or colour, square or not."""
    for shape in ((*SHAPE[:2], 1), SHAPE, (9, 9, 3)):
        images = RNG.random((N, *shape)).astype(np.float32)
        pixels = RNG.normal(size=images.shape).astype(np.float32)
        arguments = ("bgcfnx", UNIFORM, NORMAL, pixels)
        np.testing.assert_array_equal(ada.ada(images, tf.constant(0.0), *arguments), images)
        assert np.abs(ada.ada(images, tf.constant(1.0), *arguments) - images).max() > 0.1


def test_values_are_the_papers() -> None:
    """Appendix B: lognormal factors, uniform angles and shifts, normal moves and brightness."""
    values = _values(square=True)
    u = dict(zip(ada.UNIFORM, UNIFORM[:, len(ada.CHANCES) :].T, strict=True))
    z = dict(zip(ada.NORMAL, NORMAL.T, strict=True))
    wanted = {
        "flip": u["flip"] >= 0.5,
        "luma_flip": u["luma_flip"] >= 0.5,
        "turn": np.floor(4 * u["turn"]),
        "noise": z["noise"],
        "brightness": 0.2 * z["brightness"],
        "scale": 2 ** (0.2 * z["scale"]),
        "stretch": 2 ** (0.2 * z["stretch"]),
        "contrast": 2 ** (0.5 * z["contrast"]),
        "saturation": 2 ** z["saturation"],
        "band_2": 2 ** z["band_2"],
        "hue": np.pi * (2 * u["hue"] - 1),
        "rotation": np.pi * (2 * u["rotation"] - 1),
        "second_rotation": np.pi * (2 * u["second_rotation"] - 1),
        "shift_x": 0.125 * (2 * u["shift_x"] - 1),
        "shift_y": 0.125 * (2 * u["shift_y"] - 1),
        "move_x": 0.125 * z["move_x"],
        "move_y": 0.125 * z["move_y"],
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert set(np.unique(_values(square=False)["turn"])) <= {0.0, 2.0}


def test_each_transform_happens_by_its_own_chance() -> None:
    """With probability p; two rotations together with p, so that each has 1 − √(1 − p)."""
    n, p = 1000, 0.36
    uniform = np.tile((np.arange(n, dtype=np.float32)[:, None] + 0.5) / n, ada.UNIFORM_DRAWS)
    values = ada.parameters(tf.constant(p), uniform, np.zeros((n, ada.NORMAL_DRAWS), np.float32))
    shares = {name: float(np.mean(values[f"happens {name}"])) for name in ada.CHANCES}
    rotations = {"rotation", "second_rotation"}
    wanted = {name: 1 - 0.8 if name in rotations else p for name in ada.CHANCES}
    assert shares == pytest.approx(wanted)
    with_none = (np.asarray(values["scale"]) == 1) & (np.asarray(values["turn"]) == 0)
    assert with_none[360:].all()  # neutral where the chance is not below p


# Geometry


def _forward(values: dict[str, np.ndarray], i: int) -> tuple[np.ndarray, np.ndarray]:
    """G of pixel blits and of the general transforms as the paper multiplies them, in float64."""
    height, width = SHAPE[:2]

    def scale(x: float, y: float) -> np.ndarray:
        return np.diag([x, y, 1.0])

    def rotate(angle: float) -> np.ndarray:
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    def translate(x: float, y: float) -> np.ndarray:
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])

    v = {name: float(value[i]) for name, value in values.items()}
    blit = functools.reduce(
        lambda g, step: step @ g,
        [
            scale(1 - 2 * v["flip"], 1),
            rotate(-np.pi / 2 * v["turn"]),
            translate(round(v["shift_x"] * width), round(v["shift_y"] * height)),
        ],
    )
    general = functools.reduce(
        lambda g, step: step @ g,
        [
            scale(v["scale"], v["scale"]),
            rotate(-v["rotation"]),
            scale(v["stretch"], 1 / v["stretch"]),
            rotate(-v["second_rotation"]),
            translate(v["move_x"] * width, v["move_y"] * height),
        ],
    )
    return blit, general


def test_matrices_are_the_papers_products() -> None:
    values = _values(square=True)
    blits, general = (f(values, *SHAPE[:2]).numpy() for f in (ada.blits, ada.general))
    for i in range(N):
        for found, forward in zip((blits[i], general[i]), _forward(values, i), strict=True):
            np.testing.assert_allclose(found, np.linalg.inv(forward), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (10, 14)])
def test_blits_move_whole_pixels(size: tuple[int, int]) -> None:
    """As NumPy flips, turns and shifts them, mirrored at the edges."""
    image = RNG.random((*size, 2)).astype(np.float32)
    square = size[0] == size[1]
    n = 40
    columns = {
        **{name: RNG.random(n) for name in ("flip", "turn", "shift_x", "shift_y")},
        **{f"chance_{name}": 0.0 for name in ("flip", "turn", "shift")},
    }
    uniform, normal = _uniform(n, **columns), np.zeros((n, ada.NORMAL_DRAWS), np.float32)
    found = ada.ada(np.stack([image] * n), tf.constant(0.99), "b", uniform, normal).numpy()
    for i in range(n):
        flip, turn, x, y = (columns[name][i] for name in ("flip", "turn", "shift_x", "shift_y"))
        wanted = image[:, ::-1] if flip >= 0.5 else image
        # Clockwise as y points down and the paper's angle is −90°: NumPy's positive direction.
        quarters = int(4 * turn) if square else 2 * int(2 * turn)
        wanted = np.rot90(wanted, quarters)
        padded = np.pad(wanted, [(5, 5), (5, 5), (0, 0)], mode="reflect")
        down, right = (round(n * 0.125 * (2 * t - 1)) for n, t in zip(size, (y, x), strict=True))
        wanted = padded[5 - down :, 5 - right :][: size[0], : size[1]]
        np.testing.assert_array_equal(found[i], wanted)


def _warped_by_scipy(image: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """One channel: padded far, filtered by SciPy's upfirdn, sampled by its affine transform."""
    height, width = image.shape
    far = 60
    taps = np.asarray(warp.SYM6)

    def resample(x: np.ndarray, up: int, down: int, gain: float) -> np.ndarray:
        for axis in (0, 1):
            x = scipy.signal.upfirdn(gain * taps, x, up, down, axis=axis)
        return x

    finer = resample(np.pad(image, far, mode="reflect"), 2, 1, np.sqrt(2.0))
    # The taps' centre, 5.5, is where a pixel goes; both grids are centred.
    centre_in = 2 * (far + np.array([height - 1, width - 1]) / 2) + 5.5
    size = np.array([2 * (height + 6), 2 * (width + 6)])
    swapped = inverse[[1, 0]][:, [1, 0]]  # rows first
    offset = centre_in + 2 * inverse[[1, 0], 2] - swapped @ ((size - 1) / 2)
    warped = scipy.ndimage.affine_transform(
        finer, swapped, offset, output_shape=tuple(size), order=1, mode="constant"
    )
    # Correlated with the taps: the adjoint of what went up.
    for axis in (0, 1):
        warped = np.flip(
            scipy.signal.upfirdn(taps / np.sqrt(2.0), np.flip(warped, axis), axis=axis), axis
        )
    # Entry q + 11 of the correlation has its first tap at q: the pixel m needs q = 2 m + 1.
    start = 12
    return warped[start::2, start::2][:height, :width]


def test_a_warp_is_scipys() -> None:
    """Rotations, scales, stretches and moves, between the wavelet's filters."""
    values = _values()
    general = ada.general(values, *SHAPE[:2])
    found = warp.warp(IMAGES, general).numpy()
    for i in range(6):
        inverse = np.asarray(general[i], np.float64)
        wanted = _warped_by_scipy(IMAGES[i, :, :, 0].astype(np.float64), inverse)
        np.testing.assert_allclose(found[i, :, :, 0], wanted, atol=ATOL)


def test_a_warp_of_a_smooth_image_is_the_function_moved() -> None:
    """A wave, 16 pixels long, at the coordinates that the matrix gives."""
    size = 32
    x, y = np.meshgrid(*[np.arange(size) - (size - 1) / 2] * 2)

    def wave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.cos(2 * np.pi * (x + 0.5 * y) / 16 + 0.7)

    angle, scale = 0.4, 1.2  # small enough for the middle to come from inside
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    inverse = np.array([[c, -s, 1.3], [s, c, -0.6], [0, 0, 1]])
    image = wave(x, y)[None, :, :, None].astype(np.float32)
    found = warp.warp(image, inverse[None].astype(np.float32)).numpy()[0, :, :, 0]
    wanted = wave(*(inverse @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1))[:2])
    middle = slice(10, 22)
    difference = (found - wanted.reshape(size, size))[middle, middle]
    assert np.abs(difference).max() < 0.02
    assert np.abs((found - image[0, :, :, 0])[middle, middle]).max() > 0.3


def test_a_warp_without_a_transform_gives_the_image_back() -> None:
    found = warp.warp(IMAGES, np.tile(np.eye(3, dtype=np.float32), (N, 1, 1)))
    np.testing.assert_allclose(found, IMAGES, atol=1e-6)


def test_blits_and_general_transforms_are_one_warp() -> None:
    values = _values()
    found = ada.ada(IMAGES, tf.constant(1.0), "bg", UNIFORM, NORMAL).numpy()
    inverses = [np.linalg.inv(np.matmul(*_forward(values, i)[::-1])) for i in range(N)]
    wanted = warp.warp(IMAGES, np.stack(inverses).astype(np.float32))
    np.testing.assert_allclose(found, wanted, atol=ATOL)


# Colour


def _colour_matrix(values: dict[str, np.ndarray], i: int) -> np.ndarray:
    """C of the paper's pseudocode on [−1, 1], homogeneous, in float64."""
    v = {name: float(value[i]) for name, value in values.items()}
    axis = np.array([1, 1, 1, 0]) / np.sqrt(3)
    along = np.outer(axis, axis)
    brightness = np.eye(4)
    brightness[:3, 3] = v["brightness"]
    contrast = np.diag([v["contrast"]] * 3 + [1.0])
    luma = np.eye(4) - 2 * along * v["luma_flip"]
    hue = np.eye(4)
    hue[:3, :3] = scipy.spatial.transform.Rotation.from_rotvec(v["hue"] * axis[:3]).as_matrix()
    saturation = along + (np.eye(4) - along) * v["saturation"]
    saturation[3, 3] = 1.0  # the homogeneous coordinate stays
    return saturation @ hue @ luma @ contrast @ brightness


def test_colours_are_the_papers_products() -> None:
    values = _values()
    found = ada.ada(IMAGES, tf.constant(1.0), "c", UNIFORM, NORMAL).numpy()
    grey = ada.ada(IMAGES[..., :1], tf.constant(1.0), "c", UNIFORM, NORMAL).numpy()
    for i in range(N):
        matrix = _colour_matrix(values, i)
        x = 2.0 * IMAGES[i].astype(np.float64) - 1.0
        wanted = x @ matrix[:3, :3].T + matrix[:3, 3]
        np.testing.assert_allclose(found[i], (wanted + 1) / 2, atol=ATOL)
        row = matrix[:3].mean(axis=0)  # of grey images, as in the authors' code
        wanted = x[..., :1] * row[:3].sum() + row[3]
        np.testing.assert_allclose(grey[i], (wanted + 1) / 2, atol=ATOL)


def test_a_third_of_the_hues_swaps_the_channels() -> None:
    neutral = _values(0.0)
    values = {**neutral, "hue": np.full(N, 2 * np.pi / 3, np.float32)}
    found = ada.recoloured(IMAGES, values)
    np.testing.assert_allclose(found, np.roll(IMAGES, 1, axis=-1), atol=ATOL)


# Filters, noise, cutout


def test_the_bands_are_octaves_and_sum_to_the_image() -> None:
    bank = ada.filter_bank()
    np.testing.assert_allclose(bank.sum(axis=0), np.eye(1, 43, 21)[0], atol=1e-9)
    gains = np.abs(np.fft.rfft(bank, 512))  # 0 to π in 257 steps
    # Each band has most of its octave's middle: π/16, 3π/16, 3π/8, 3π/4.
    assert [int(np.argmax(gains[:, k])) for k in (16, 48, 96, 192)] == [0, 1, 2, 3]
    np.testing.assert_allclose(bank.sum(axis=1), [1, 0, 0, 0], atol=1e-9)


def test_filters_are_scipys() -> None:
    values = _values()
    factors = np.stack([values[f"band_{i}"] for i in range(4)], axis=1).astype(np.float64)
    gains = np.ones((N, 4))
    powers = np.array([10, 1, 1, 1]) / 13
    for band in range(4):
        amplified = np.ones((N, 4))
        amplified[:, band] = factors[:, band]
        gains *= amplified / np.sqrt((powers * amplified**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ada.band_gains(values), gains, rtol=1e-5)
    found = ada.ada(IMAGES, tf.constant(1.0), "f", UNIFORM, NORMAL).numpy()
    for i in range(N):
        wanted = IMAGES[i].astype(np.float64)
        for axis in (0, 1):
            taps = gains[i] @ ada.filter_bank()
            wanted = scipy.ndimage.convolve1d(wanted, taps, axis=axis, mode="mirror")
        np.testing.assert_allclose(found[i], wanted, atol=ATOL)


def test_noise_and_cutout() -> None:
    """σ = 0.1 |z| on [−1, 1]; a hole of half the sides, grey."""
    found = ada.ada(IMAGES, tf.constant(1.0), "n", UNIFORM, NORMAL, PIXELS).numpy()
    deviation = 0.05 * np.abs(NORMAL[:, ada.NORMAL.index("noise"), None, None, None])
    np.testing.assert_allclose(found, IMAGES + deviation * PIXELS, atol=1e-6)
    columns = {"chance_cutout": 0.0, "cutout_x": 0.5, "cutout_y": [0.0, 0.5, 1.0]}
    uniform = _uniform(3, **columns)
    found = ada.ada(IMAGES[:3], tf.constant(0.9), "x", uniform, NORMAL[:3]).numpy()
    height, width = SHAPE[:2]
    rows, middle = [slice(0, 2), slice(3, 7), slice(8, 10)], slice(4, 10)
    assert (height, width) == (10, 14)
    for i in range(3):
        wanted = IMAGES[i].copy()
        wanted[rows[i], middle] = 0.5
        np.testing.assert_array_equal(found[i], wanted)


def test_gradients_are_those_of_an_affine_map() -> None:
    """The change of any weighted sum is the gradient times the change of the images."""
    images, change = tf.constant(IMAGES), RNG.normal(size=IMAGES.shape).astype(np.float32)
    weights = RNG.normal(size=IMAGES.shape).astype(np.float32)

    def total(x: tf.Tensor) -> tf.Tensor:
        y = ada.ada(x, tf.constant(0.8), "bgcfnx", UNIFORM, NORMAL, PIXELS)
        return tf.reduce_sum(weights * y, axis=[1, 2, 3])

    with tf.GradientTape() as tape:
        tape.watch(images)
        before = total(images)
    gradient = tape.gradient(before, images)
    wanted = np.sum(gradient * change, axis=(1, 2, 3))
    np.testing.assert_allclose(total(images + change) - before, wanted, rtol=1e-4, atol=2e-3)
    assert np.abs(wanted).min() > 0


# It does not leak


def test_turns_can_be_undone_unless_they_always_happen() -> None:
    """Section 2.2: of the four orientations' shares, p = 1 tells nothing, and p < 1 all.

    Turns change the shares by (1 − p) I + p / 4 · 1 1ᵀ, whose eigenvalues are 1 and 1 − p.
    """
    image = RNG.random((5, 5, 1)).astype(np.float32)
    cells = 20
    chance, turn = (x.ravel() for x in np.meshgrid((np.arange(cells) + 0.5) / cells, np.arange(4)))
    n = len(chance)
    # At p = 1 flips and shifts happen too: by nothing.
    still = {"flip": 0.0, "shift_x": 0.5, "shift_y": 0.5}
    uniform = _uniform(n, chance_turn=chance, turn=(turn + 0.5) / 4, **still)
    normal = np.zeros((n, ada.NORMAL_DRAWS), np.float32)
    turned = [np.rot90(image, k) for k in range(4)]
    for p in (0.0, 0.3, 0.9, 1.0):
        matrix = np.zeros((4, 4))
        for start in range(4):
            seen = ada.ada(np.stack([turned[start]] * n), tf.constant(p), "b", uniform, normal)
            for each in seen.numpy():
                (end,) = [k for k in range(4) if np.array_equal(each, turned[k])]
                matrix[end, start] += 1 / n
        np.testing.assert_allclose(matrix, (1 - p) * np.eye(4) + p / 4, atol=1e-9)
        values = np.sort(np.linalg.eigvals(matrix).real)
        np.testing.assert_allclose(values, [1 - p, 1 - p, 1 - p, 1], atol=1e-9)
        assert np.linalg.matrix_rank(matrix) == (1 if p == 1.0 else 4)


# Bad input


@pytest.mark.parametrize("transforms", ["", "bgz", "bb", "BGC", "blit"])
def test_unknown_letters(transforms: str) -> None:
    with pytest.raises(ValueError, match="expected some of b .*, each once, such as 'bgc'"):
        ada.check_transforms(transforms, 3)


def test_colours_of_four_channels() -> None:
    with pytest.raises(ValueError, match="take 1 or 3 channels, and the images have 4. Take 'bg'"):
        ada.check_transforms("bgc", 4)
    ada.check_transforms("bg", 4)
