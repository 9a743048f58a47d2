"""Images and labels that Keras's loops are given: every kind is read, every fault is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.support.keras_loops import (
    IMAGES,
    LABELS,
    Pairs,
    batches_of,
    compiled_model,
    evaluate,
    fit,
)


def _endless() -> Any:
    while True:
        yield from (Pairs()[i] for i in range(3))


@pytest.mark.parametrize(
    ("x", "y", "options"),
    [
        (batches_of(IMAGES, LABELS), None, {}),
        pytest.param(Pairs(), None, {}, marks=pytest.mark.slow),
        pytest.param(
            tf.constant(IMAGES), tf.constant(LABELS), {"batch_size": 8}, marks=pytest.mark.slow
        ),
        pytest.param(_endless(), None, {"steps_per_epoch": 3}, marks=pytest.mark.slow),
    ],
    ids=["tf.data", "PyDataset", "tensors", "generator"],
)
def test_kinds_of_data(x: Any, y: Any, options: Any) -> None:
    """All give the run that arrays give."""
    expected = fit(compiled_model("cvae"), IMAGES, LABELS)
    assert fit(compiled_model("cvae"), x, y, **options) == expected


@pytest.mark.filterwarnings("error:.shuffle=True.:UserWarning")
def test_fit_does_not_warn_that_a_data_set_is_not_shuffled() -> None:
    compiled_model().fit(batches_of(IMAGES), verbose=0)


WRONG_IMAGES = {
    "0…255": (IMAGES * 255, r"values from .* to 2\d\d\.\d*; expected \[0, 1\]. Divide by 255"),
    "tanh": (IMAGES * 2 - 1, r"values from -0\.\d* to 0\.\d*; expected \[0, 1\]. .*\(x \+ 1\) / 2"),
    "NaN": (np.full_like(IMAGES, np.nan), "NaN values. Remove"),
    "infinite": (np.full_like(IMAGES, np.inf), r"to inf; expected \[0, 1\]"),
    "uint8": ((IMAGES * 255).astype(np.uint8), "uint8; expected float32.*Divide by 255"),
    "int64": ((IMAGES * 255).astype(np.int64), "int64; expected float32.*Divide by 255"),
    "bool": (IMAGES > 0.5, r"bool; expected float32.*astype\('float32'\)"),
}


@pytest.mark.parametrize("kind", WRONG_IMAGES)
def test_wrong_images(kind: str) -> None:
    """As arrays, before any step; as a data set, at the first; by every loop."""
    images, message = WRONG_IMAGES[kind]
    model = compiled_model()
    loops = [
        lambda x: fit(model, x),
        lambda x: fit(model, validation_data=(x, None), epochs=1),
        lambda x: model.evaluate(x, verbose=0),
        model.train_on_batch,
        model.test_on_batch,
    ]
    for loop in loops:
        with pytest.raises(ValueError, match=message):
            loop(images)
    # Of these alone `train_on_batch` takes a step: what it was given shows within the graph.
    assert model.steps_done == (kind in ("0…255", "tanh", "NaN", "infinite"))
    for loop in loops[:1] + loops[2:3]:
        with pytest.raises(ValueError, match=message):
            loop(batches_of(images))


def test_wrong_images_under_xla() -> None:
    """Whose minimum and maximum pass over NaN."""
    model = compiled_model()
    note = tf.function(model._note_data, jit_compile=True)
    for kind in ("0…255", "tanh", "NaN", "infinite"):
        images, message = WRONG_IMAGES[kind]
        note(tf.constant(images), tf.zeros([0], tf.float64))
        with pytest.raises(ValueError, match=message):
            model.check_data()
    note(tf.constant(IMAGES), tf.zeros([0], tf.float64))
    model.check_data()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}, {"accumulate": 2}],
    ids=str,
)
def test_wrong_data_however_steps_run(options: Any) -> None:
    """XLA drops assertions; several steps at once and parts must not hide what was wrong."""
    for images, labels, message in [
        (IMAGES * 255, LABELS, "Divide by 255"),
        (IMAGES * 2 - 1, LABELS, r"\(x \+ 1\) / 2"),
        (IMAGES, LABELS + 1, "label 3: expected a class from 0 to 2"),
        (IMAGES, LABELS - 0.5, r"label -?\d\.5: expected a class from 0 to 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(compiled_model("cvae", **options), batches_of(images, labels))


def test_wrong_images_late_in_the_data() -> None:
    """In any batch of an epoch; and which batch was wrong does not linger."""
    for at in (1, 2):
        images = IMAGES.copy()
        images[8 * at] = 37.0
        model = compiled_model()
        for loop in (fit, evaluate):
            with pytest.raises(ValueError, match="to 37; expected"):
                loop(model, batches_of(images))
            loop(model, batches_of(IMAGES))


@pytest.mark.parametrize(
    "images",
    [
        np.round(IMAGES) * np.float32(1.0000002),
        pytest.param(IMAGES.astype(np.float64), marks=pytest.mark.slow),
        pytest.param(IMAGES.astype(np.float16), marks=pytest.mark.slow),
    ],
    ids=["rounding", "float64", "float16"],
)
def test_rounding_and_precision_are_no_fault(images: np.ndarray) -> None:
    for x in (images, batches_of(images)):
        fit(compiled_model(), x)


WRONG_LABELS = {
    "half": (LABELS + 0.5, r"label \d\.5"),
    "NaN": (LABELS * np.nan, "label nan"),
    "2³² + 1": (LABELS + np.int64(2**32 + 1), r"label 429496729\d"),
    "from 1": (LABELS + 1, "label 3"),
    "negative": (LABELS.astype(np.int64) - 1, "label -1"),
    "one-hot": (np.eye(3)[LABELS], "argmax"),
    "text": (np.array(["bag", "shirt", "shoe"])[LABELS], "dtype <U5.*return_inverse|got text"),
}


@pytest.mark.parametrize("kind", WRONG_LABELS)
def test_wrong_labels(kind: str) -> None:
    labels, message = WRONG_LABELS[kind]
    model = compiled_model("cvae")
    for options in ({"y": labels}, {"y": LABELS, "validation_data": (IMAGES, labels)}):
        with pytest.raises(ValueError, match=message):
            fit(model, **options)
    assert model.steps_done == 0
    data = batches_of(IMAGES, labels if kind == "text" else labels.astype(np.float64))
    for loop in (fit, evaluate)[: 1 + (kind == "half")]:
        with pytest.raises(ValueError, match=message):
            loop(model, data)
    assert model.steps_done <= 1  # by the data set's first batch
    if kind in ("one-hot", "text"):  # a model that is not conditional needs none
        fit(compiled_model(), IMAGES[:8], labels[:8], validation_data=(IMAGES[:8], labels[:8]))


def test_exact_labels() -> None:
    """In a data set of floats too, and whatever graphs were made before."""
    expected = fit(compiled_model("cvae"), IMAGES, LABELS)
    for labels in (LABELS.astype(np.float32), LABELS.astype(np.uint8), LABELS[:, None]):
        assert fit(compiled_model("cvae"), IMAGES, labels) == expected
    for labels in (LABELS.astype(np.float64), LABELS[:, None].astype(np.float64)):
        assert fit(compiled_model("cvae"), batches_of(IMAGES, labels)) == expected
    with pytest.raises(ValueError, match=r"label nan: expected a class from 0 to 2.*argmax"):
        fit(compiled_model("cvae"), batches_of(IMAGES, np.eye(3)[LABELS]))


def test_labels_that_are_missing_or_no_images() -> None:
    with pytest.raises(ValueError, match="expected integer labels with the images, got none"):
        fit(compiled_model("cvae"), IMAGES)
    for x in ([IMAGES, IMAGES], {"images": IMAGES}):
        with pytest.raises(ValueError, match="expected one array"):
            fit(compiled_model(), x)


@pytest.mark.parametrize("x", [None, "images.npz", IMAGES[:0], IMAGES.tolist()])
def test_images_that_are_none(x: Any) -> None:
    with pytest.raises(ValueError, match=r"[Tt]he images are|Images are a list"):
        fit(compiled_model("vae"), x)


@pytest.mark.slow
def test_shape_that_only_the_graph_sees() -> None:
    model = compiled_model("vae")
    for spec in ([None, None, None], None):
        wrong, right = (
            tf.data.Dataset.from_generator(
                lambda x=x: iter(x), output_signature=tf.TensorSpec(spec, tf.float32)
            ).batch(4)
            for x in (IMAGES[:, 1:], IMAGES)
        )
        with pytest.raises(ValueError, match=r"^A batch of images has shape \[4,"):
            model.fit(wrong, verbose=0)
        model.fit(right, verbose=0)
