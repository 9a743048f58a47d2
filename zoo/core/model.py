"""The base class of every model: its options and networks, sampling, saving and loading."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zoo import networks
from zoo.core import contracts
from zoo.core.compiling import Compiling
from zoo.core.hooks import check_hooks
from zoo.core.loops import CheckedLoops
from zoo.core.registry import check_known
from zoo.core.replicated_step import named_seed
from zoo.core.running_means import RunningMeans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from zoo.io.types import Tensor

GENERATE_BATCH = 256
MEANS = "running_means"  # their key in a saved model


class EndpointSpec(NamedTuple):
    """What is exported as one function of a model.

    Args:
        method: The model's method that computes it.
        inputs: Shape of one example of each input, by name. Labels are added on export. A side of
            None takes every size that the model's `size_factor` allows.
        outputs: Shape of one example of each output, by name.
        networks: Attributes of the networks that it takes.

    Example:
        >>> import zoo
        >>> model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> model.endpoints()["generate"].outputs
        {'image': (8, 8, 1)}
    """

    method: str
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: Mapping[str, tuple[int | None, ...]]
    networks: tuple[str, ...]


class ZooModel(CheckedLoops, Compiling):
    """A generative image model with a standard normal prior over `latent_dim` dimensions.

    Subclasses own the `train_step` and declare its `players`; this class holds what they share.
    Noise is a pure function of (`seed`, training step), drawn for the global batch: the same seed
    gives the same run, replicas draw different rows, and a resumed run continues as if never
    interrupted.

    Args:
        image_shape: (height, width, channels) of float32 images in [0, 1].
        latent_dim: Number of latent dimensions, at least 1.
        num_classes: Number of classes. A conditional model takes a label with every image and
            latent. 0 makes an unconditional model, which ignores labels in the data.
        seed: Seed of the training noise. Initial weights follow `keras.utils.set_random_seed`.
        **kwargs: `name` and `dtype`, as any Keras model takes them. The policies "mixed_bfloat16"
            and "mixed_float16" hold for the networks built here. Weights, output layers, losses
            and penalties stay float32.

    Raises:
        ValueError: If `image_shape` is not three positive integers, `latent_dim` < 1, there is one
            class, a model that needs classes is given none, or Keras's floatx is not float32.

    Example:
        >>> import zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    family: ClassVar[str]
    model_name: ClassVar[str]
    network: str
    default_batch_size: ClassVar[int] = 128
    minibatches = 1  # minibatches a training batch is split into
    prior = "standard_normal"
    started_from: Any = None  # the report of `zoo.finetune`, if it made the model
    loaded_from: Path | None = None  # the file of a run that it was loaded from
    conditional: ClassVar[bool] = False  # whether it needs `num_classes`
    # Whether one network makes the images from latents: a generator, or a decoder their logits.
    single_decoder: ClassVar[bool] = True
    # Endpoints whose outputs jump and are constant in between, as behind an argmin.
    piecewise_constant: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses overrides that nothing would call."""
        super().__init_subclass__(**kwargs)
        check_hooks(cls)

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        latent_dim: int,
        num_classes: int = 0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if keras.config.floatx() != "float32":
            msg = (
                f"Keras's floatx is {keras.config.floatx()!r}: the models of the zoo need "
                "'float32', and take dtype='mixed_bfloat16' or 'mixed_float16' for less. Call "
                "keras.config.set_floatx('float32'), or mend keras.json."
            )
            raise ValueError(msg)
        check_known(type(self), kwargs.keys() - {"trainable"})
        # Inputs stay float32: the networks cast them where they compute in less.
        super().__init__(autocast=False, **kwargs)
        self.image_shape = tuple(int(size) for size in image_shape)
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            msg = f"image_shape={tuple(image_shape)}: expected (height, width, channels), all ≥ 1."
            raise ValueError(msg)
        if latent_dim < 1:
            msg = f"latent_dim={latent_dim}: expected at least 1."
            raise ValueError(msg)
        if num_classes < 0 or num_classes == 1:
            msg = f"num_classes={num_classes}: expected at least 2, or 0 for no labels."
            raise ValueError(msg)
        if self.conditional and not num_classes:
            msg = f"{self.model_name} is conditional: expected num_classes, at least 2."
            raise ValueError(msg)
        self.latent_dim = int(latent_dim)
        self.num_classes = int(num_classes)
        self.seed = int(seed)
        self.step = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="step"
        )
        self.running_means = RunningMeans(self.log_names)
        self.accumulate = 1
        self.trace_anew()

    def trace_anew(self) -> None:
        """Makes `generate` compute what `images_from_latents` now does."""
        signature = [tf.TensorSpec([None, self.noise_dim], tf.float32, name="latent")]
        if self.num_classes:
            signature.append(tf.TensorSpec([None], tf.int32, name="label"))
        self._generate = tf.function(self.images_from_latents, input_signature=signature)

    @property
    def noise_dim(self) -> int:
        """Dimensions of the latents that images are made from: `latent_dim` in most models."""
        return self.latent_dim

    # What a subclass provides

    def images_from_latents(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [batch, height, width, channels] in [0, 1] of latents [batch, noise_dim].

        A conditional model takes int32 `labels` [batch] too.
        """
        raise NotImplementedError

    # Sampling

    def sample_latents(self, n: int, seed: int | None = None) -> np.ndarray:
        """Draws from the prior.

        Args:
            n: Number of latents.
            seed: The same seed gives the same latents; None draws anew each time.

        Returns:
            float32 [n, noise_dim].

        Example:
            >>> import zoo
            >>> zoo.create("vae", (8, 8, 1), 2, network="mlp").sample_latents(5, seed=0).shape
            (5, 2)
        """
        if n < 1:
            msg = f"n={n}: expected at least 1."
            raise ValueError(msg)
        seed = secrets.randbits(31) if seed is None else seed

        def draw(name: str, shape: Sequence[int] = (), *, uniform: bool = False) -> Any:
            law = tf.random.stateless_uniform if uniform else tf.random.stateless_normal
            return law([n, *shape], named_seed(seed, name))

        return self.prior_latents(draw).numpy()

    def prior_latents(self, draw: Callable[..., Any]) -> Tensor:
        """Draws from the prior, float32 tensor [n, noise_dim], by `draw(name, shape, uniform)`."""
        return draw("generate", [self.noise_dim])

    def generate(self, n: int, seed: int | None = None, labels: Tensor | None = None) -> np.ndarray:
        """Draws images from the model.

        Args:
            n: Number of images.
            seed: The same seed gives the same images; None draws anew each time.
            labels: For a conditional model: one class for all images, or one per image, int [n];
                None draws classes that are equally likely.

        Returns:
            float32 [n, height, width, channels] in [0, 1].

        Raises:
            ValueError: If `n` < 1, a label is no class, or the model takes no labels.

        Example:
            >>> import zoo
            >>> model = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=3)
            >>> model.generate(4, seed=0, labels=2).shape
            (4, 8, 8, 1)
        """
        seed = secrets.randbits(31) if seed is None else seed
        latents = self.sample_latents(n, seed)
        labels = self.sample_labels(n, seed) if labels is None else labels
        return self.generate_from(latents, labels)

    def sample_labels(self, n: int, seed: int) -> np.ndarray | None:
        """Labels of equally likely classes, int32 [n]; None if the model takes none."""
        if not self.num_classes:
            return None
        seeds = named_seed(seed, "labels")
        return tf.random.stateless_uniform([n], seeds, 0, self.num_classes, tf.int32).numpy()

    def generate_from(self, latents: np.ndarray, labels: Tensor | None = None) -> np.ndarray:
        """Images of given latents.

        Args:
            latents: float32 [n, noise_dim].
            labels: For a conditional model: one class for all latents, or one per latent, int [n].

        Returns:
            float32 [n, height, width, channels] in [0, 1].

        Raises:
            ValueError: If the latents have another shape, a label is no class or missing, or the
                model takes no labels.

        Example:
            >>> import numpy as np
            >>> import zoo
            >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
            >>> model.generate_from(np.zeros((4, 2))).shape
            (4, 8, 8, 1)
        """
        latents = np.asarray(latents, np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.noise_dim:
            msg = f"latents of shape {latents.shape}: expected [n, {self.noise_dim}]."
            raise ValueError(msg)
        inputs = [latents]
        if self.num_classes or labels is not None:
            inputs.append(self.checked_labels(labels, len(latents)))
        chunks = range(0, len(latents), GENERATE_BATCH)
        return np.concatenate(
            [self._generate(*(x[i : i + GENERATE_BATCH] for x in inputs)) for i in chunks]
        )

    # Deployment

    @property
    def size_factor(self) -> int:
        """What divides both sides of the images of endpoints that take every size; 0 if none do.

        Where images have sides [height, width], a grid has them divided by this.
        """
        return 0

    def endpoints(self) -> dict[str, EndpointSpec]:
        """What is exported, by name. Inputs leave out the label, which export adds."""
        raise NotImplementedError

    def optional_endpoints(self) -> dict[str, EndpointSpec]:
        """What is exported on request, by name; their inputs include the label."""
        return {}

    # Saving

    def save_own_variables(self, store: Any) -> None:
        """Saves the running means too: a run goes on within an epoch."""
        super().save_own_variables(store)
        store[MEANS] = np.stack([self.running_means.totals, self.running_means.counts])

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saves."""
        values = {key: np.asarray(store[key]) for key in store.keys()}  # noqa: SIM118  (no iterator)
        means = values.pop(MEANS, None)
        super().load_own_variables(values)
        if means is not None:
            self.running_means.totals.assign(means[0])
            self.running_means.counts.assign(means[1])

    def build_network(self, role: str, *args: Any, **options: Any) -> Any:
        """A network of the architecture `network`, in the model's precision."""
        return networks.build(self.network, role, *args, dtype=self.dtype_policy, **options)

    def keep_own(self, **networks: keras.Model | None) -> None:
        """Notes which networks the user passed, for `get_config`."""
        self._own_networks = [role for role, network in networks.items() if network is not None]

    def own_networks(self) -> dict[str, Any]:
        """Serialised networks that the user passed."""
        return {
            role: keras.saving.serialize_keras_object(getattr(self, role))
            for role in self._own_networks
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ZooModel:
        """Builds the model of `get_config`."""
        arguments = {
            key: keras.saving.deserialize_keras_object(value)
            if isinstance(value, dict) and "class_name" in value
            else value
            for key, value in config.items()
        }
        with contracts.unchecked():
            return cls(**arguments)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        config = super().get_config()
        return {
            **{key: config[key] for key in ("name", "dtype") if key in config},
            "image_shape": list(self.image_shape),
            "latent_dim": self.latent_dim,
            **({"num_classes": self.num_classes} if self.num_classes else {}),
            "seed": self.seed,
        }


def check_model(model: Any) -> None:
    """Checks that an argument is a model of the zoo.

    Raises:
        TypeError: If it is not.

    Example:
        >>> from zoo.core.model import check_model
        >>> check_model(None)
        Traceback (most recent call last):
        TypeError: model=None: expected a model, as zoo.create makes it.
    """
    if not isinstance(model, ZooModel):
        msg = f"model={model!r}: expected a model, as zoo.create makes it."
        raise TypeError(msg)
