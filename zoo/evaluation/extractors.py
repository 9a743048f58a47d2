"""The network whose features are compared: which one, and whether there has to be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import data
from zoo.data import sprites
from zoo.metrics import load_extractor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from zoo.core.model import ZooModel
    from zoo.metrics import FeatureExtractor

# Extractors that were trained on the training split of a data set. Drawings of known factors take
# none: they are there to be disentangled.
EXTRACTORS = {
    "fashion_mnist": "fashion_mnist_classifier",
    "fashion_mnist_sample": "fashion_mnist_classifier",
    sprites.NAME: None,
}
FASHION_SHAPE = (28, 28, 1)  # which fashion_mnist_classifier takes
ANY_IMAGES = "efficientnet_lite0"  # for all other data: it comes with this package


def extractor_for(
    data_name: str, given: str | None, image_shape: Sequence[int] = FASHION_SHAPE
) -> str | None:
    """The name of the extractor to take for data; None for none. No default needs a download.

    Args:
        data_name: As `zoo.data.source_name` gives it.
        given: The name that was asked for, which may be "none"; None asks for the default: the
            extractor made for the data, if the images have its shape, and else
            "efficientnet_lite0", which takes any images.
        image_shape: (height, width, channels) of the images that will be compared.

    Example:
        >>> from zoo.evaluation.extractors import extractor_for
        >>> extractor_for("fashion_mnist", None), extractor_for("fashion_mnist", "none")
        ('fashion_mnist_classifier', None)
        >>> extractor_for("fashion_mnist", None, (32, 32, 1)), extractor_for("emoji", None)
        ('efficientnet_lite0', 'efficientnet_lite0')
    """
    if given is not None:
        return None if given == "none" else given
    own = EXTRACTORS.get(data_name, ANY_IMAGES)
    fits = own != "fashion_mnist_classifier" or tuple(image_shape) == FASHION_SHAPE
    return own if fits else ANY_IMAGES


def extractor_of(model: ZooModel, source: Any, given: str | None) -> str | None:
    """The name of the extractor to measure a model with; None for none.

    Args:
        model: The model. A GAN needs an extractor, as nothing but its samples is measured.
        source: Data for `zoo.data.load`.
        given: As for `extractor_for`.

    Raises:
        ValueError: If none is asked for, and the model is a GAN.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.extractors import extractor_of
        >>> gan = zoo.create("dcgan", (32, 32, 1), 2, network="mlp")
        >>> extractor_of(gan, "sprites", None)
        'efficientnet_lite0'
    """
    if model.family == "gan":
        what = f"A {model.model_name}, which is measured by its samples alone"
        return needed_extractor_name(source, given, model.image_shape, what=what)
    return extractor_for(data.source_name(source), given, model.image_shape)


def note_on_features(model: ZooModel, extractor: str | None) -> str | None:
    """What to know of figures over the features that a model was trained to match; else None.

    Args:
        model: The model that is measured.
        extractor: The name of the extractor.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.extractors import note_on_features
        >>> model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> note_on_features(model, "efficientnet_lite0") is None
        True
    """
    if extractor is None or getattr(model, "features", None) != extractor:
        return None
    return (
        f"Note: a {model.model_name} trains on features of {extractor}, and figures over the same "
        "features flatter it (arXiv 2203.06026). To compare it with other models, take another "
        "--extractor, such as inception_fid."
    )


def needed_extractor(
    source: Any,
    given: str | None,
    image_shape: Sequence[int],
    *,
    what: str,
    weights: str | Path | None = None,
    resize: str | None = None,
) -> FeatureExtractor:
    """Loads the extractor of something that cannot be measured without one.

    Args:
        source: Data for `zoo.data.load`.
        given: As for `extractor_for`. Data whose default is none take "efficientnet_lite0".
        image_shape: (height, width, channels) of the images that will be compared.
        what: What needs it, the subject of an error: "fid10k_test".
        weights: File of the extractor's weights, in place of a download.
        resize: How images are brought to the extractor's size; default: its own way.

    Raises:
        ValueError: If none is asked for, or there is no such extractor.
        ConnectionError: If its weights must be downloaded and cannot.

    Example:
        >>> from zoo.evaluation.extractors import needed_extractor
        >>> needed_extractor("fashion_mnist_sample", None, (28, 28, 1), what="fid10k_test").name
        'fashion_mnist_classifier'
    """
    name = needed_extractor_name(source, given, image_shape, what=what)
    return load_extractor(name, weights=weights, resize=resize)


def needed_extractor_name(
    source: Any, given: str | None, image_shape: Sequence[int], *, what: str
) -> str:
    """The name of the extractor that `needed_extractor` loads; arguments and errors as there.

    Example:
        >>> from zoo.evaluation.extractors import needed_extractor_name
        >>> needed_extractor_name("sprites", None, (32, 32, 1), what="A dcgan")
        'efficientnet_lite0'
    """
    if given == "none":
        msg = f"{what}: expected an extractor, whose features are compared. Name one, and not none."
        raise ValueError(msg)
    if given is not None:
        return given
    return extractor_for(data.source_name(source), None, image_shape) or ANY_IMAGES
