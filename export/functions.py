"""What a model offers to deployment: named functions of named tensors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from types import new_class
from typing import TYPE_CHECKING, Any

import tensorflow as tf

import zoo
from export.portable_random import portable_draw
from zoo.convert import in_channels_last
from zoo.core.contracts import ROUNDING
from zoo.core.model import EndpointSpec, ZooModel
from zoo.data.contents import KINDS
from zoo.sampling import standing
from zoo.sampling.interpolation import slerp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zoo.io.types import Tensor

INTEGERS = ("label", "codes")  # the tensors of a model that are int32
NCHW = "generate_nchw_uint8"
IMAGES = ("image", "reconstruction", "image_bytes")  # those whose values are in [0, 1]
PACKAGES = ("vaegan-zoo", "tensorflow", "keras", "tf2onnx", "onnx")  # whose versions are noted


@dataclass(frozen=True)
class Endpoint:
    """A function to export.

    Attributes:
        name: Its name as a signature and file.
        inputs: Its named inputs; a first axis of None is the batch's, a scalar has no axis. A
            further one is a side, of every size.
        outputs: Likewise.
        function: Maps input tensors, by position, to a dict of output tensors.
        networks: The Keras networks it uses.
        piecewise_constant: Whether its outputs only jump, as those behind an argmin do.
        image_sides: (height, width) of the model's images.
        size_factor: The model's `size_factor`.

    Example:
        >>> import zoo
        >>> from export import endpoints
        >>> generate = endpoints(zoo.create("vae", (8, 8, 1), 2, network="mlp"))[0]
        >>> generate.outputs["image"].shape.as_list()
        [None, 8, 8, 1]
    """

    name: str
    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]
    function: Callable[..., dict[str, Any]]
    networks: tuple[Any, ...]
    piecewise_constant: bool = False
    image_sides: tuple[int, int] = (0, 0)
    size_factor: int = 0

    @property
    def every_size(self) -> bool:
        """Whether it takes images or grids of every size."""
        return any(None in spec.shape[1:].as_list() for spec in self.inputs.values())

    def input_shape(self, name: str, sides: Sequence[int] = ()) -> tuple[int, ...]:
        """The shape of one example of an input.

        Args:
            name: The input.
            sides: (height, width) of the images, where it takes every size; default the model's.
        """
        sides = sides or self.image_sides
        return _at(name, self.inputs[name].shape[1:], sides, self.size_factor)

    def signature(self) -> list[tf.TensorSpec]:
        """The inputs' specifications, in order."""
        return list(self.inputs.values())


def tensor(
    name: str, shape: Sequence[int | None] | None, dtype: tf.DType | None = None
) -> tf.TensorSpec:
    """A tensor with a batch axis before `shape`; a scalar if that is None."""
    dtype = dtype or (tf.int32 if name in INTEGERS else tf.float32)
    return tf.TensorSpec([] if shape is None else [None, *shape], dtype, name=name)


def axes_of(name: str, spec: tf.TensorSpec) -> list[int | str]:
    """A tensor's sizes, and the names of the axes that have none of their own.

    Sides of images of every size are `height` and `width`, those of their grids `grid_height` and
    `grid_width`.
    """
    sides = ("height", "width") if name in IMAGES else ("grid_height", "grid_width")
    names = ("batch", *sides)
    return [names[i] if size is None else size for i, size in enumerate(spec.shape)]


def _at(
    name: str, shape: Sequence[int | None], sides: Sequence[int], factor: int
) -> tuple[int, ...]:
    """The shape of one example of a tensor where images have these sides."""
    found = [side if name in IMAGES else side // max(factor, 1) for side in sides]
    return tuple(found[i] if size is None else size for i, size in enumerate(shape))


def networks_of(functions: Sequence[Endpoint]) -> list[Any]:
    """The Keras networks that functions use, each once, in order of first use."""
    return list({id(network): network for e in functions for network in e.networks}.values())


def model_facts(model: Any, functions: Sequence[Endpoint]) -> dict[str, Any]:
    """What the metadata of every format say of the model, as text and numbers."""
    every_size = any(endpoint.every_size for endpoint in functions)
    return {
        "model": model.model_name,
        "prior": model.prior,
        "latent_dim": model.noise_dim,
        **({"num_classes": model.num_classes} if model.num_classes else {}),
        "image_shape": list(model.image_shape),
        "image_range": [0.0, 1.0],
        **({"image_sizes": {"multiple_of": model.size_factor}} if every_size else {}),
        "weights_sha256": weights_sha256(functions),
        **standing.entry(model),
        "endpoints": {
            e.name: {
                kind: {
                    name: {"shape": axes_of(name, spec), "dtype": spec.dtype.name}
                    for name, spec in t.items()
                }
                for kind, t in (("inputs", e.inputs), ("outputs", e.outputs))
            }
            for e in functions
        },
        "versions": {name: version(name) for name in PACKAGES},
    }


def weights_sha256(functions: Sequence[Endpoint]) -> str:
    """Hash of the shapes, types and bytes of all weights the functions use, in their order."""
    digest = hashlib.sha256()
    for network in networks_of(functions):
        for weight in network.weights:
            array = weight.numpy()
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def _with_networks(model: Any, networks: dict[str, Any]) -> Any:
    """A copy of the model that computes with other networks, and shares all else with it.

    Its class is derived from the model's: methods that call `super()` and properties work as they
    do in the model. What a cached property of the model holds is made anew, of these networks. An
    attribute that a method sets is set in the copy alone.
    """
    base: Any = type(model)
    names = {**networks, "__setattr__": object.__setattr__}
    derived = new_class(base.__name__, (base,), exec_body=lambda body: body.update(names))
    cached = {
        name
        for each in base.__mro__
        for name, value in vars(each).items()
        if isinstance(value, cached_property)
    }
    copy: Any = object.__new__(derived)
    own = {name: value for name, value in vars(model).items() if name not in cached}
    vars(copy).update({**own, **networks})
    return copy


def endpoints(
    model: Any,
    rewrite: Callable[[Any], Any] = lambda network: network,
    functions: Sequence[str] | None = None,
    *,
    every_size: bool = True,
) -> list[Endpoint]:
    """The functions of a model.

    - `generate`: latent → image.
    - `encode`, in models with an encoder: image → mean and log_variance, or codes.
    - `decode`, in VAEs: latent or codes → image.
    - `reconstruct`, in models with an encoder: image → reconstruction. A VAE decodes the mean.
    - `sample`: n, seed → image. Every runtime gives the same images for a seed.
    - `discriminate`, in GANs and on request: image → logit.
    - `interpolate`, on request: latent, latent_to, weight from 0 to 1 → image, on a sphere.
    - `generate_nchw_uint8`, on request: latent → image, uint8 [n, 3, height, width], as evaluation
      tools such as torch-fidelity take it.

    In a conditional model all take `label` too; `sample` takes one label for all images. They
    compute in float32, also where the model was trained in mixed precision.

    Args:
        model: A model of the zoo, or a Keras generator: one of latents [batch, d] to images
            [batch, height, width, channels], whose prior is taken to be N(0, I).
        rewrite: What to do to each network once, such as folding or another precision.
        functions: Names of those wanted besides `generate`. None takes all but those on request.
        every_size: Whether functions that can take images of every size do. Else they take those
            of the model's `image_shape`.

    Returns:
        The endpoints, `generate` first.

    Raises:
        ValueError: If it is neither, or has no such function.
        TypeError: If an endpoint is no `EndpointSpec`, or `functions` is a text.

    Example:
        >>> import zoo
        >>> from export import endpoints
        >>> [e.name for e in endpoints(zoo.create("vae", (8, 8, 1), 2, network="mlp"))]
        ['generate', 'encode', 'decode', 'reconstruct', 'sample']
    """
    model = as_model(model)
    optional = model.optional_endpoints()
    _check_specs(model, {**model.endpoints(), **optional})
    if isinstance(functions, str):
        msg = f"functions={functions!r}: expected a list of names, [{functions!r}]."
        raise TypeError(msg)
    label = {"label": ()} if model.num_classes else {}
    specs = {
        name: spec._replace(inputs={**spec.inputs, **label})
        for name, spec in model.endpoints().items()
    }
    names = names_of(model)
    functions = [*specs, "sample"] if functions is None else ["generate", *functions]
    for name in functions:
        if name not in names:
            msg = f"function {name!r}: {model.model_name} has {', '.join(names)}."
            raise ValueError(msg)
    specs |= {name: spec for name, spec in optional.items() if name in functions}
    if not every_size:
        specs = {name: _of_one_size(model, spec) for name, spec in specs.items()}
    used = dict.fromkeys(name for spec in specs.values() for name in spec.networks)
    networks = {name: rewrite(in_channels_last(getattr(model, name))) for name in used}
    served = _with_networks(model, networks)
    named = {
        name: Endpoint(
            name,
            {key: tensor(key, shape) for key, shape in spec.inputs.items()},
            {key: tensor(key, shape) for key, shape in spec.outputs.items()},
            _named(getattr(served, spec.method), list(spec.outputs)),
            tuple(networks[n] for n in spec.networks),
            name in model.piecewise_constant,
            tuple(model.image_shape[:2]),
            model.size_factor,
        )
        for name, spec in specs.items()
    }
    generate = named["generate"]
    # Traced once for all that generate: a SavedModel then has it once.
    traced = tf.function(generate.function, input_signature=generate.signature())
    generate = named["generate"] = replace(generate, function=traced)
    named["sample"], named["interpolate"] = _sample(served, generate), _interpolate(generate)
    if NCHW in functions:
        named[NCHW] = _nchw_uint8(generate)
    return [named[name] for name in names if name in functions]


def _check_specs(model: Any, specs: Mapping[str, Any]) -> None:
    """Raises TypeError if an endpoint of a model is no `EndpointSpec`."""
    for name, spec in specs.items():
        if not isinstance(spec, EndpointSpec):
            msg = (
                f"{type(model).__name__}: endpoint {name!r} is a {type(spec).__name__}; expected a "
                "zoo.core.model.EndpointSpec(method, inputs, outputs, networks)."
            )
            raise TypeError(msg)


def _of_one_size(model: Any, spec: EndpointSpec) -> EndpointSpec:
    """A function for images of the model's own size."""

    def fixed(tensors: Mapping[str, tuple[int | None, ...]]) -> dict[str, tuple[int, ...]]:
        at = model.image_shape[:2], model.size_factor
        return {name: _at(name, shape, *at) for name, shape in tensors.items()}

    return spec._replace(inputs=fixed(spec.inputs), outputs=fixed(spec.outputs))


def names_of(model: Any) -> list[str]:
    """The names of all functions that a model of the zoo can export."""
    nchw = [NCHW] if model.image_shape[-1] in (1, 3) else []
    return [*model.endpoints(), "sample", "interpolate", *nchw, *model.optional_endpoints()]


def as_model(model: Any) -> Any:
    """The model, or the GAN that a Keras generator makes.

    Raises:
        ValueError: If it is neither, or its images are not in [0, 1].
    """
    if isinstance(model, ZooModel):
        return model
    shapes = [getattr(model, f"{side}_shape", None) for side in ("input", "output")]
    latent, image = (list(x) if isinstance(x, tuple) else [] for x in shapes)
    if (len(latent), len(image)) != (2, 4) or None in (*latent[1:], *image[1:]):
        msg = (
            f"model={model!r}: expected a model of the zoo, or a built Keras generator of latents "
            "[batch, d] to images [batch, height, width, channels]."
        )
        raise ValueError(msg)
    gan = zoo.create("gan", tuple(image[1:]), latent[1], generator=model, network="mlp")
    images = gan.generate(16, seed=0)
    if not (images.min() >= -ROUNDING and images.max() <= 1.0 + ROUNDING):
        msg = (
            f"{model.name} draws values from {images.min():.9g} to {images.max():.9g}; expected "
            "images in [0, 1]. End it in keras.ops.clip(x, 0, 1)."
        )
        raise ValueError(msg)
    return gan


def byte_functions(generate: Endpoint) -> list[Endpoint]:
    """`generate_uint8` and `generate_png`: grey levels, of [0, 1] times 255 rounded to even.

    PNG takes 1, 3 or 4 channels; images of another number have no `generate_png`.
    """

    def as_uint8(*inputs: Any) -> dict[str, Any]:
        return {"image": _grey_levels(generate.function(*inputs)["image"])}

    def as_png(*inputs: Any) -> dict[str, Any]:
        images = as_uint8(*inputs)["image"]
        return {"image_bytes": tf.map_fn(tf.io.encode_png, images, fn_output_signature=tf.string)}

    size = generate.outputs["image"].shape[1:]
    image = tensor("image", size, tf.uint8)
    png = tensor("image_bytes", (), tf.string)
    functions = [
        replace(generate, name="generate_uint8", outputs={"image": image}, function=as_uint8),
        replace(generate, name="generate_png", outputs={"image_bytes": png}, function=as_png),
    ]
    return functions if size[-1] in KINDS else functions[:1]


def _nchw_uint8(generate: Endpoint) -> Endpoint:
    """The grey levels of `generate_uint8`, channels first; grey images as three equal channels."""
    height, width, channels = generate.outputs["image"].shape[1:]

    def function(*inputs: Any) -> dict[str, Any]:
        levels = _grey_levels(generate.function(*inputs)["image"])
        return {"image": tf.transpose(tf.repeat(levels, 3 // channels, axis=-1), [0, 3, 1, 2])}

    image = tensor("image", (3, height, width), tf.uint8)
    return replace(generate, name=NCHW, outputs={"image": image}, function=function)


def _grey_levels(image: Tensor) -> Tensor:
    return tf.cast(tf.round(tf.clip_by_value(image, 0.0, 1.0) * 255.0), tf.uint8)


def _sample(model: Any, generate: Endpoint) -> Endpoint:
    """From a number and a seed."""
    labels = {name: tensor(name, None) for name in generate.inputs if name == "label"}

    def sample(n: Any, seed: Any, *label: Any) -> dict[str, Any]:
        latents = model.prior_latents(portable_draw(n, seed))
        return generate.function(latents, *(tf.fill([n], x) for x in label))

    inputs = {name: tensor(name, None, tf.int32) for name in ("n", "seed")}
    return replace(generate, name="sample", inputs={**inputs, **labels}, function=sample)


def _interpolate(generate: Endpoint) -> Endpoint:
    """Between two latents."""

    def interpolate(latent: Any, latent_to: Any, weight: Any, *label: Any) -> dict[str, Any]:
        return generate.function(slerp(latent, latent_to, weight[:, None]), *label)

    first, *label = generate.signature()
    inputs = {
        "latent": first,
        "latent_to": tensor("latent_to", first.shape[1:]),
        "weight": tensor("weight", ()),
        **{x.name: x for x in label},
    }
    return replace(generate, name="interpolate", inputs=inputs, function=interpolate)


def _named(method: Callable[..., Any], names: list[str]) -> Callable[..., dict[str, Any]]:
    def function(*inputs: Any) -> dict[str, Any]:
        outputs = method(*inputs)
        tensors = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return dict(zip(names, tensors, strict=True))

    return function
