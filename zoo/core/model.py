"""The base of every model: noise, metrics, optimizers and sampling, safe under replicas."""

from __future__ import annotations

import functools
import inspect
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from zoo import networks
from zoo.core import callbacks, contracts
from zoo.core.replicas import on_each_replica
from zoo.core.replicated_step import ReplicatedStep, named_seed
from zoo.core.running_means import RunningMeans
from zoo.data import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GENERATE_BATCH = 256
FIRST = 256  # images of an array that `fit` looks at before it trains
MEANS = "running_means"  # their key in a saved model


class ZooModel(ReplicatedStep):
    """A generative image model with a standard normal prior over `latent_dim` dimensions.

    Subclasses own the `train_step` and declare its `players`; this class holds what they share.
    Noise is a pure function of (`seed`, training step), drawn for the global batch: the same seed
    gives the same run, replicas draw different rows, and a resumed run continues as if never
    interrupted.

    Args:
        image_shape: (height, width, channels) of float32 images in [0, 1].
        latent_dim: Number of latent dimensions, at least 1.
        num_classes: Classes of a conditional model, which takes a label with every image and
            latent; 0: not conditional, and labels in the data are ignored.
        seed: Seed of the training noise. Initial weights follow `keras.utils.set_random_seed`.
        **kwargs: `name` and `dtype`, as of any Keras model. The policies "mixed_bfloat16" and
            "mixed_float16" hold for the networks built here; weights, output layers, losses and
            penalties are float32 under each.

    Raises:
        ValueError: If `image_shape` is not three positive integers, `latent_dim` < 1, there is one
            class, a model that needs classes is given none, or Keras's floatx is not float32.
    """

    family: ClassVar[str]
    model_name: ClassVar[str]
    network: str
    train_function: Any  # Keras's, as are the next two
    predict_function: Any
    steps_per_execution: int
    default_batch_size: ClassVar[int] = 128
    minibatches = 1  # minibatches a training batch is split into
    prior = "standard_normal"
    conditional: ClassVar[bool] = False  # whether it needs `num_classes`
    # Whether images are what one network (a decoder: the sigmoid of what it) makes of latents.
    single_decoder: ClassVar[bool] = True
    # Endpoints whose outputs only jump, as those behind an argmin do.
    piecewise_constant: ClassVar[tuple[str, ...]] = ()

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
        signature = [tf.TensorSpec([None, self.noise_dim], tf.float32, name="latent")]
        if self.num_classes:
            signature.append(tf.TensorSpec([None], tf.int32, name="label"))
        self._generate = tf.function(self.images_from_latents, input_signature=signature)

    @property
    def noise_dim(self) -> int:
        """Dimensions of the latents that images are made of: `latent_dim`, if no other."""
        return self.latent_dim

    # What a subclass provides

    def images_from_latents(self, latents: Any, labels: Any = None) -> Any:
        """Images [batch, height, width, channels] in [0, 1] of latents [batch, noise_dim].

        A conditional model takes int32 `labels` [batch] too.
        """
        raise NotImplementedError

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """The paper's optimizer for one of `optimizer_names`, a new one at each call."""
        raise NotImplementedError

    # Sampling

    def sample_latents(self, n: int, seed: int | None = None) -> np.ndarray:
        """Draws from the prior.

        Args:
            n: Number of latents.
            seed: The same seed gives the same latents; None draws anew each time.

        Returns:
            float32 [n, noise_dim].
        """
        if n < 1:
            msg = f"n={n}: expected at least 1."
            raise ValueError(msg)
        seed = secrets.randbits(31) if seed is None else seed

        def draw(name: str, shape: Sequence[int] = (), *, uniform: bool = False) -> Any:
            law = tf.random.stateless_uniform if uniform else tf.random.stateless_normal
            return law([n, *shape], named_seed(seed, name))

        return self.prior_latents(draw).numpy()

    def prior_latents(self, draw: Callable[..., Any]) -> Any:
        """Draws from the prior, float32 tensor [n, noise_dim], by `draw(name, shape, uniform)`."""
        return draw("generate", [self.noise_dim])

    def generate(self, n: int, seed: int | None = None, labels: Any = None) -> np.ndarray:
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

    def generate_from(self, latents: np.ndarray, labels: Any = None) -> np.ndarray:
        """Images of given latents.

        Args:
            latents: float32 [n, noise_dim].
            labels: For a conditional model: one class for all latents, or one per latent, int [n].

        Returns:
            float32 [n, height, width, channels] in [0, 1].

        Raises:
            ValueError: If the latents have another shape, a label is no class or missing, or the
                model takes no labels.
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

    def checked_labels(self, labels: Any, n: int) -> np.ndarray:
        """One label for each of `n` images, int32 [n], of one for all or one each.

        Raises:
            ValueError: If one is no class, their number is another, they are missing, or the model
                takes none.
        """
        if not self.num_classes:
            msg = f"labels={labels}: {self.model_name} was created without num_classes."
            raise ValueError(msg)
        if labels is None:
            msg = f"{self.model_name} has {self.num_classes} classes: expected labels, int [n]."
            raise ValueError(msg)
        labels = np.reshape(labels, 1) if np.ndim(labels) == 0 else labels
        found = checked.checked_labels(labels, self.num_classes, "The labels")
        if len(found) not in (1, n):
            msg = f"labels of shape {found.shape}: expected one for all, or [{n}]."
            raise ValueError(msg)
        return np.broadcast_to(found, n)

    # Deployment

    def optional_endpoints(self) -> dict[str, Any]:
        """What is exported on request, as a family's `endpoints`, labels included."""
        return {}

    # Training

    def batch_of(self, data: Any) -> dict[str, Any]:
        """What `fit` hands to a step: `images`, and of a conditional model int32 `labels` [batch].

        Data are x, (x,) or (x, y); a model without classes ignores y. Values out of range are noted
        in the running means, for `check_data`: XLA, replicas and several workers cannot all raise
        an error from within a graph.

        Raises:
            ValueError: If images are not floating point, or of another shape than `image_shape`;
                labels are needed and absent, or not one number per image; or there are weights.
        """
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            raise ValueError(_no_weights("sample_weight or class_weight", self))
        images = self._floating_images(images)
        batch = {"images": tf.cast(images, tf.float32)}
        wrong = tf.zeros([0], tf.float64)
        if self.num_classes:
            labels = self._numbers(labels, tf.shape(images)[0])
            sound = (labels >= 0) & (labels < self.num_classes) & (labels == tf.floor(labels))
            wrong = tf.where(sound, tf.zeros_like(labels), labels)
            batch["labels"] = tf.cast(tf.where(sound, labels, tf.zeros_like(labels)), tf.int32)
        self._note_data(batch["images"], wrong)
        return batch

    def _checked_images(self, images: Any) -> Any:
        """Images as a tensor, [batch, *image_shape]."""
        if isinstance(images, (list, tuple, dict)):
            msg = (
                f"Images are a {type(images).__name__}; expected one array [batch, height, width, "
                "channels]. Pass fit(images, labels), or a data set of images or of such pairs."
            )
            raise ValueError(msg)  # noqa: TRY004  (as for other wrong data)
        images = tf.convert_to_tensor(images)
        if not images.shape[1:].is_compatible_with(self.image_shape):
            msg = (
                f"Images have shape {tuple(images.shape[1:])}, but the model was created with "
                f"image_shape={self.image_shape}."
            )
            raise ValueError(msg)
        return images

    def _floating_images(self, images: Any) -> Any:
        """Images to train on, as a tensor. Integers are refused: their range is not known."""
        images = self._checked_images(images)
        if not images.dtype.is_floating:
            remedy = "Give x.astype('float32')." if images.dtype.is_bool else "Divide by 255."
            msg = f"Images are {images.dtype.name}; expected float32 in [0, 1]. {remedy}"
            raise ValueError(msg)
        return images

    def images_of(self, images: Any) -> Any:
        """Images as `encode` and its likes take them, as a float32 tensor in [0, 1].

        Args:
            images: Floats in [0, 1]; or uint8, which are divided by 255, or bools;
                [batch, height, width, channels]. Within a graph their values are not looked at.

        Raises:
            ValueError: If they have another shape or dtype, or values out of range.
        """
        if isinstance(images, keras.KerasTensor):
            return images
        if tf.executing_eagerly():
            found = checked.checked_pixels(images, "The images")
            images = images if isinstance(images, tf.Tensor) else found  # which has a gradient
        images = self._checked_images(images)
        if not (images.dtype.is_floating or images.dtype in (tf.uint8, tf.bool)):
            msg = f"Images are {images.dtype.name}; expected float32 in [0, 1], or uint8 in 0..255."
            raise ValueError(msg)
        pixels = tf.cast(images, tf.float32)
        return pixels / 255.0 if images.dtype == tf.uint8 else pixels

    def _numbers(self, labels: Any, batch: Any) -> Any:
        """Labels as float64 [batch], which holds every int32 and shows what is none."""
        found = None if labels is None else tf.convert_to_tensor(labels)
        if found is None or found.dtype == tf.string:
            msg = (
                f"{self.model_name} has num_classes={self.num_classes}: expected integer labels "
                f"with the images, got {'none' if found is None else 'text'}. Pass fit(images, "
                "labels), or a data set of pairs."
            )
            raise ValueError(msg)
        shape = found.shape
        if shape.rank is not None and (shape.rank != 1 and tuple(shape[1:]) != (1,)):
            msg = (
                f"Labels have shape {tuple(shape)}; expected [batch], one class number per image. "
                + checked.ONE_HOT
            )
            raise ValueError(msg)
        numbers = tf.cast(found, tf.float64)
        if shape.rank is not None:
            return tf.reshape(numbers, [-1])
        # A graph for labels of several ranks: of rows, none is a class.
        columns = tf.reshape(numbers, [batch, -1])
        return tf.where(tf.shape(columns)[1] == 1, columns[:, 0], tf.constant(np.nan, tf.float64))

    def _note_data(self, images: Any, wrong_labels: Any) -> None:
        none = tf.zeros([1], tf.float64)
        ranges = tf.stack([*_range(images), *_range(tf.concat([none, wrong_labels], axis=0))])
        low, high, *labels = tf.unstack(on_each_replica(ranges), axis=1)
        (low, _), (_, high) = _range(low), _range(high)
        tolerance = checked.TOLERANCE
        sound = (low >= -tolerance) & (high <= 1.0 + tolerance)
        pixels = tf.where(sound, tf.zeros([2], tf.float64), tf.stack([low, high]))
        labels = [_range(labels[0])[0], _range(labels[1])[1]]
        self.running_means.note_data(tf.concat([pixels, tf.stack(labels)], axis=0))
        if tf.executing_eagerly() and tf.distribute.get_strategy().num_replicas_in_sync == 1:
            self.check_data()

    def check_data(self) -> None:
        """Checks the batches that steps have seen since the means were last reset, or this call.

        `fit`, `evaluate` and their likes on one batch call it.

        Raises:
            ValueError: If there were pixels outside of [0, 1] or NaN, or labels that are no
                classes.
        """
        wrong = self.running_means.wrong_data.numpy()
        if not wrong.any():
            return
        self.running_means.wrong_data.assign(tf.zeros_like(wrong))
        pixels, labels = wrong[:2], wrong[2:]
        if np.isnan(pixels).any():
            msg = "The images of a batch have NaN values. Remove those images."
            raise ValueError(msg)
        checked.checked_pixels(pixels, "The images of a batch")  # raises where they are the fault
        label = labels[1] or labels[0]
        label = int(label) if np.isfinite(label) and label == int(label) else label
        remedy = f" {checked.ONE_HOT}" if np.isnan(label) else ""
        msg = (
            f"A batch has label {label}: expected a class from 0 to {self.num_classes - 1}, one "
            f"number per image.{remedy}"
        )
        raise ValueError(msg)

    @property
    def steps_done(self) -> int:
        """Training steps so far, outside of a graph; `int(step)` fails under several workers."""
        return int(self.step.numpy())

    @property
    def state_variables(self) -> list[Any]:
        """All that training goes on from: the model's variables, then the optimizers'."""
        optimizers = [getattr(self, name) for name in self.optimizer_names]
        return [*self.variables, *(v for optimizer in optimizers for v in optimizer.variables)]

    # Compiling

    def compile(
        self,
        *optimizers: Any,
        accumulate: int = 1,
        clip_norm: float | None = None,
        decay_steps: int | None = None,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Sets the optimizers, by default the paper's.

        Args:
            *optimizers: A Keras optimizer or None for each of `optimizer_names`, in their order;
                or as keyword arguments.
            accumulate: Parts that an update's batch is computed in, one after the other. The
                gradients are those of the whole batch, but for what is between examples and sees
                the parts: BatchNorm, and the losses of `beta_tc_vae`, `info_vae` and `wae_mmd`.
            clip_norm: Largest norm of each optimizer's whole gradient; None leaves it be.
            decay_steps: Training steps over which every learning rate falls linearly to 0, where it
                stays; None keeps them.
            jit_compile: Compile the step with XLA, whose random numbers are others: the run is as
                repeatable, but not the same.
            **kwargs: Optimizers by name; `run_eagerly` and `steps_per_execution` as in Keras.
                docs/keras.md has all arguments of `keras.Model.compile`.

        Raises:
            ValueError: If there is no such optimizer, or one for some and not by name, or one for
                two; an argument of Keras's that means nothing here is given; `accumulate` < 1,
                `clip_norm` ≤ 0, `decay_steps` < 1 or a learning rate has a schedule already, or
                replicas are to be compiled with XLA.
        """
        self._check_compile(kwargs, jit_compile)
        given = self._given_optimizers(optimizers, kwargs)
        if accumulate < 1:
            msg = f"accumulate={accumulate}: expected at least 1."
            raise ValueError(msg)
        if clip_norm is not None and clip_norm <= 0.0:
            msg = f"clip_norm={clip_norm}: expected more than 0, or None."
            raise ValueError(msg)
        if decay_steps is not None and decay_steps < 1:
            msg = f"decay_steps={decay_steps}: expected at least 1, or None."
            raise ValueError(msg)
        replicas = self.distribute_strategy.num_replicas_in_sync
        if jit_compile and replicas > 1:
            msg = (
                f"jit_compile=True with {replicas} replicas: XLA cannot compile the sums over "
                "replicas. Leave it out, or train on one device."
            )
            raise ValueError(msg)
        self.accumulate = accumulate
        for name in self.optimizer_names:
            optimizer = keras.optimizers.get(given.get(name) or self.default_optimizer(name))
            if decay_steps is not None:
                optimizer = _decaying(optimizer, decay_steps * self.updates_a_step(name))
            if clip_norm is not None:
                getattr(optimizer, "inner_optimizer", optimizer).global_clipnorm = clip_norm
            setattr(self, name, self._prepared(optimizer))
        # The first is Keras's "the optimizer"; float16's scaling is there already, for each.
        kwargs = {**kwargs, "jit_compile": jit_compile, "auto_scale_loss": False}
        super().compile(optimizer=getattr(self, self.optimizer_names[0]), **kwargs)
        for name in self.optimizer_names:
            getattr(self, name).build(self.variables_of(name))

    def _check_compile(self, given: dict[str, Any], jit_compile: Any) -> None:
        """Refuses what Keras's `compile` takes and no step here would look at."""
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if given.get(name) is not None:
                msg = (
                    f"{name}={given[name]!r}: a {self.model_name} has its own losses, and logs "
                    f"{', '.join(self.log_names)}. Leave it out; choose losses by the model's "
                    "options, and measure more with `zoo.evaluate`."
                )
                raise ValueError(msg)
        if given.get("auto_scale_loss") is False:
            msg = (
                "auto_scale_loss=False: float16's gradients need the scale. Leave it out, or "
                "create the model with dtype='mixed_bfloat16', which needs none."
            )
            raise ValueError(msg)
        if jit_compile not in (True, False):
            msg = (
                f"jit_compile={jit_compile!r}: expected True or False, for XLA draws other random "
                "numbers."
            )
            raise ValueError(msg)

    def _given_optimizers(
        self, optimizers: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The optimizers that `compile` was given, by name, taken out of `kwargs`."""
        unknown = [n for n in kwargs if n.endswith("optimizer") and n not in self.optimizer_names]
        if unknown or len(optimizers) > len(self.optimizer_names):
            msg = (
                f"{unknown[0] if unknown else len(optimizers)}: this {self.model_name} has "
                f"{', '.join(self.optimizer_names)}."
            )
            raise ValueError(msg)
        if 0 < len(optimizers) < len(self.optimizer_names):
            msg = (
                f"{len(optimizers)} optimizer for {', '.join(self.optimizer_names)}: expected one "
                f"for each in this order, or by name: `{self.optimizer_names[0]}=…`. None takes "
                "the paper's."
            )
            raise ValueError(msg)
        given = dict(zip(self.optimizer_names, optimizers, strict=False))
        given |= {name: kwargs.pop(name) for name in self.optimizer_names if name in kwargs}
        objects = [id(x) for x in given.values() if isinstance(x, keras.optimizers.Optimizer)]
        if len(set(objects)) < len(objects):
            msg = f"One optimizer for {', '.join(given)}: expected an object for each."
            raise ValueError(msg)
        return given

    def updates_a_step(self, optimizer_name: str) -> int:  # noqa: ARG002
        """How often the named optimizer updates its variables in one training step."""
        return 1

    @property
    def decay_steps(self) -> int | None:
        """Training steps after which the learning rates are 0; None if they do not fall."""
        name = self.optimizer_names[0]
        optimizer = getattr(self, name)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a loss scale
        schedule = optimizer.get_config()["learning_rate"]
        if not isinstance(schedule, dict) or schedule["class_name"] != "PolynomialDecay":
            return None
        return schedule["config"]["decay_steps"] // self.updates_a_step(name)

    def _prepared(self, optimizer: Any) -> Any:
        """The optimizer, with loss scaling for float16, and told that its gradients are sums."""
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if self.dtype_policy.compute_dtype == "float16" and not scaled:
            optimizer, scaled = keras.optimizers.LossScaleOptimizer(optimizer), True
        for each in (optimizer, optimizer.inner_optimizer) if scaled else (optimizer,):
            # Keras has no public switch for what `update` does already.
            each._all_reduce_sum_gradients = _as_they_are
        return optimizer

    # Keras's loops: what docs/keras.md says of their arguments

    @functools.wraps(keras.Model.fit, assigned=())
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras, but for what would do nothing here, or harm: that is refused.

        Raises:
            ValueError: If weights are given, a callback is none for this model, or images or
                labels are not what the model takes; the first of arrays before any step.
        """
        given = inspect.signature(keras.Model.fit).bind(self, *args, **kwargs).arguments
        if given.get("class_weight") is not None:
            raise ValueError(_no_weights("class_weight", self))
        batched = (tf.data.Dataset, tf.distribute.DistributedDataset, keras.utils.PyDataset)
        if given.get("batch_size") is not None and isinstance(given.get("x"), batched):
            msg = (
                f"batch_size={given['batch_size']}: a data set has batches of its own. Leave it "
                "out, or give the data set this size."
            )
            raise ValueError(msg)
        self._check_averages()
        given["callbacks"] = callbacks.adapted(given.get("callbacks"), self)
        self._check_arrays(given, "")
        held_out = given.get("validation_data")
        if isinstance(held_out, (list, tuple)):
            x, y, weights = keras.utils.unpack_x_y_sample_weight(tuple(held_out))
            parts = {"x": x, "y": y, "sample_weight": weights}
            self._check_arrays(parts, "validation ")
            given["validation_data"] = tuple(part for part in parts.values() if part is not None)
        return super().fit(**{name: given[name] for name in given if name != "self"})

    def _check_averages(self) -> None:
        # Here, and not in `compile`: a model that was saved with such an optimizer loads.
        for name in self.optimizer_names:
            optimizer = getattr(self, name, None)
            if getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False):
                msg = (
                    f"{name} has use_ema=True: Keras would put the averages in place of the "
                    "weights at the end of each `fit`, and no run could go on from there. "
                    f"{callbacks.average_advice(self)}"
                )
                raise ValueError(msg)

    def _check_arrays(self, given: dict[str, Any], what: str) -> None:
        """Checks the arguments x, y and sample_weight of a loop, as far as they are arrays.

        Labels are made int32, or left out where the model needs none. The first images are looked
        at before any step; the steps look at all.
        """
        if given.get("sample_weight") is not None:
            raise ValueError(_no_weights(f"{what}sample_weight", self))
        x, y = given.get("x"), given.get("y")
        if not isinstance(x, (np.ndarray, tf.Tensor)):
            return
        self._floating_images(x[:FIRST])
        checked.checked_pixels(x[:FIRST], f"The {what}images")
        if not self.num_classes:
            given["y"] = None
        elif y is not None:
            given["y"] = checked.checked_labels(y, self.num_classes, f"The {what}labels")

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; raises ValueError as `fit`."""
        logs = super().train_on_batch(*args, **kwargs)
        self.check_data()
        return logs

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; raises ValueError as `fit`."""
        logs = super().test_on_batch(*args, **kwargs)
        self.check_data()
        return logs

    def make_predict_function(self, force: bool = False) -> Any:  # noqa: FBT001, FBT002
        """What `predict` calls with batches, which are checked here: the model's graph cannot."""
        if self.predict_function is None or force:
            super().make_predict_function(force)
            function = self.predict_function

            def checking(batches: Any) -> Any:
                for batch in batches:
                    x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
                    for part in self.distribute_strategy.experimental_local_results(x):
                        self.check_inputs(part)
                return function(batches)

            self.predict_function = checking
        return self.predict_function

    def check_inputs(self, inputs: Any) -> None:
        """Raises ValueError where the input of `call` has values that the model does not take."""
        if self.num_classes:
            x, *labels = inputs if isinstance(inputs, (list, tuple)) else (inputs,)
            self.checked_labels(labels[0] if labels else None, len(x))

    # Keras's functions of several steps at once fail with several replicas: they put each step into
    # a conditional, in which nothing can be summed over replicas (its issue 19246).

    def make_train_function(self, force: bool = False) -> Any:  # noqa: FBT001, FBT002
        """What `fit` calls with an iterator over batches."""
        if not self._several_steps_of_replicas():
            super().make_train_function(force)
        elif self.train_function is None or force:

            def one(count: Any, iterator: Any) -> Any:
                self.distribute_strategy.run(self.train_step, args=(iterator.get_next(),))
                return (count + 1,)

            def several(iterator: Any) -> Any:
                size = self.steps_per_execution
                tf.while_loop(lambda n: n < size, lambda n: one(n, iterator), [tf.constant(0)])
                return self.running_means.result()

            self.train_function = tf.function(several, reduce_retracing=True)
        return self.train_function

    @functools.wraps(keras.Model.evaluate, assigned=())
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; step by step with several replicas, for data may end within an execution.

        Raises:
            ValueError: As `fit`.
        """
        bound = inspect.signature(keras.Model.evaluate).bind(self, *args, **kwargs)
        given = {**bound.arguments, **bound.arguments.pop("kwargs", {})}
        self._check_arrays(given, "")
        size: int = self.steps_per_execution
        if self._several_steps_of_replicas():
            given.pop("_use_cached_eval_dataset", None)  # which `fit` made for several steps
            self.steps_per_execution = 1
        try:
            results = super().evaluate(
                **{name: given[name] for name in given if name not in ("self", "kwargs")}
            )
        finally:
            self.steps_per_execution = size
        self.check_data()
        return results

    def _several_steps_of_replicas(self) -> bool:
        return self.steps_per_execution > 1 and self.distribute_strategy.num_replicas_in_sync > 1

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is left to build; Keras would average a batch over replicas of one size only."""

    # Saving: Keras restores custom `compile`s only through these two (all optimizers, with state)

    def get_compile_config(self) -> dict[str, Any]:
        """Configuration of the optimizers and the step."""
        if not self.compiled:
            return {}
        optimizers = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in self.optimizer_names
        }
        return {
            **optimizers,
            "accumulate": self.accumulate,
            "jit_compile": self.jit_compile,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says."""
        self.compile(
            **{
                name: keras.saving.deserialize_keras_object(value)
                if isinstance(value, dict)
                else value
                for name, value in config.items()
            }
        )

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


def _range(values: Any) -> tuple[Any, Any]:
    """Smallest and largest value, scalar float64, both NaN if there is one."""
    # XLA's minimum and maximum pass over NaN. A sum does not.
    spoiled = tf.math.is_nan(tf.reduce_sum(values))
    ends = tf.cast(tf.stack([tf.reduce_min(values), tf.reduce_max(values)]), tf.float64)
    low, high = tf.unstack(tf.where(spoiled, tf.constant(np.nan, tf.float64), ends))
    return low, high


def _no_weights(argument: str, model: ZooModel) -> str:
    return (
        f"{argument}: the losses of a {model.model_name} are means over images that count alike. "
        "Repeat or leave out images in the data instead."
    )


def _decaying(optimizer: Any, updates: int) -> Any:
    """The optimizer anew, its learning rate falling linearly to 0 over so many updates."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer.inner_optimizer = _decaying(optimizer.inner_optimizer, updates)
        return optimizer
    config = optimizer.get_config()
    rate = config["learning_rate"]
    scheduled = isinstance(rate, dict)
    if scheduled:
        msg = f"decay_steps: the learning rate of {optimizer.name} has a schedule already."
        raise ValueError(msg)
    schedule = keras.optimizers.schedules.PolynomialDecay(rate, updates, 0.0)
    return type(optimizer).from_config({**config, "learning_rate": schedule})


def _as_they_are(gradients_and_variables: Any) -> list[Any]:
    return list(gradients_and_variables)


def slerp(first: Any, second: Any, fraction: Any) -> Any:
    """Spherical interpolation (arXiv 1609.04468), which keeps to the shell where latents live.

    Args:
        first: float32 [..., latent_dim].
        second: float32 [..., latent_dim].
        fraction: In [0, 1], float32 [..., 1].

    Returns:
        float32 tensor [..., latent_dim].
    """
    unit = [tf.math.l2_normalize(x, axis=-1) for x in (first, second)]  # of 0, 0
    cosine = tf.reduce_sum(unit[0] * unit[1], axis=-1, keepdims=True)
    angle = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    sine = tf.sin(angle)
    # Parallel latents, always so in one dimension, have no great circle: interpolate linearly.
    straight = sine < 1e-3
    sine = tf.where(straight, 1.0, sine)
    weight = tf.where(straight, fraction, tf.sin(fraction * angle) / sine)
    rest = tf.where(straight, 1.0 - fraction, tf.sin((1.0 - fraction) * angle) / sine)
    return rest * first + weight * second


def copy_network(network: keras.Model, inputs: Sequence[int], *, labels: bool = False) -> Any:
    """A copy with equal weights that does not train.

    Args:
        network: The model.
        inputs: Shape of one input example.
        labels: Whether it takes labels too.
    """
    copy = type(network).from_config(network.get_config())
    copy(_zeros(1, inputs, labels))  # builds a subclassed network
    copy.set_weights(network.get_weights())
    copy.trainable = False
    return copy


def check_network(
    network: Any,
    role: str,
    inputs: Sequence[int],
    outputs: Sequence[Sequence[int]],
    *,
    labels: bool = False,
    values: Sequence[str | None] = (),
) -> None:
    """Checks a network's shapes by running it on two zero examples, and what its values are.

    Args:
        network: The `keras.Model`.
        role: Its name in the error.
        inputs: Shape of one input example.
        outputs: Shapes of one example of each output.
        labels: Whether it takes int32 labels [batch] too.
        values: What each output holds: `kinds` of `contracts.check_values`.

    Raises:
        ValueError: If an output is missing, of another shape, or not such values; or TensorFlow
            cannot compute the network on this processor.
    """

    def run(x: Any) -> list[Any]:
        given = tf.zeros([len(x)], tf.int32) if labels else None
        outputs = network(with_labels(x, given))
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    try:
        found = run(tf.zeros([2, *inputs]))
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
        if "NCHW" not in str(error) and "NHWC" not in str(error):
            raise
        msg = (
            f"The {role} convolves channels first, which TensorFlow does not compute in this "
            "process: set TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported, or build the "
            "network with data_format='channels_last'."
        )
        raise ValueError(msg) from error
    shapes = [tuple(tensor.shape[1:]) for tensor in found]
    if shapes != [tuple(shape) for shape in outputs]:
        msg = (
            f"The {role} maps {tuple(inputs)} to {shapes}; expected {[tuple(s) for s in outputs]}."
        )
        raise ValueError(msg)
    contracts.check_values(network, role, values, run, inputs)


def with_labels(x: Any, labels: Any) -> Any:
    """The input of a network: x, and labels where it takes them."""
    # Keras takes no list in which arrays and tensors are mixed.
    return x if labels is None else [tf.convert_to_tensor(x), tf.convert_to_tensor(labels)]


def _zeros(n: int, inputs: Sequence[int], labels: bool) -> Any:  # noqa: FBT001
    return with_labels(tf.zeros([n, *inputs]), tf.zeros([n], tf.int32) if labels else None)
