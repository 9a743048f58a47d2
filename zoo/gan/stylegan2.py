"""StyleGAN2, complete or small: styles, path length penalty (arXiv 1912.04958)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.adam import Adam
from zoo.core.network_tools import with_labels
from zoo.core.registry import register_model
from zoo.core.replicas import all_reduce_sum, global_count, global_mean
from zoo.gan.gan import GAN
from zoo.networks import stylegan2

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from zoo.io.types import Tensor

LAYERS = ("mapping", "truncation", "synthesis")  # of the generator
STYLE_DECAY = 0.995  # of w̄, as in the authors' code
LENGTH_DECAY = 0.99  # of a (arXiv 1912.04958, appendix B)
FULL = "stylegan2"  # the network of configuration F
NOISE = ("fixed", "random", "none")
MIXING = 0.9  # arXiv 1812.04948, section 3.1
FULL_WEIGHT = 8.0  # γ_pl: the authors' 2, for lengths that are on [0, 1] half as long


@register_model("stylegan2")
class StyleGAN2(GAN):
    """StyleGAN2 (arXiv 1912.04958): R1 and path lengths, both lazy, and truncation.

    `network="style"`, the default, is a small one without noise and style mixing.
    `network="stylegan2"` is the paper's configuration F: noise for each layer, style mixing,
    filtered resampling, the minibatch standard deviation, 512 dimensions and channels.

    The generator's loss has the term γ_pl (‖J_wᵀ y‖ − a)² (eq. 4). a is the moving average of the
    lengths, which the logs call `path_length`. A lazy penalty is part of the loss of every k-th
    step, k times as heavy. The paper takes a further step for it, hence its Adam of rate c η and
    β^c, c = k / (k + 1) (appendix B), which `stylegan2` has too.

    Departures: those of the network; R1 takes the deviation of the minibatch for a constant; the
    path lengths are of the whole batch, and of half in the authors' code; styles are mixed per
    image, and per batch in the authors' code; an average of the generator by steps. The paper's is
    `ema=None, ema_images=10000`.

    Args:
        network: `"style"` or `"stylegan2"`, perhaps with a width, such as `"stylegan2-64"`.
        normalization: `"none"`.
        regularizer: R1, by default γ = 2.5, which on [−1, 1] is 10.
        regularizer_every: Steps between R1 penalties (section 3.1).
        path_length_weight: γ_pl; None takes 4 ln 2 / (ln r − ln 2) for images of r × r pixels, the
            paper's (appendix B) for lengths by √(height · width) shorter, and on [0, 1] by 2. The
            lengths of `stylegan2` are means over its layers: None takes as many times more, which
            is 8, the authors' 2 on [0, 1]. 0 leaves the penalty out.
        path_length_every: Steps between path length penalties; None takes 8 for `stylegan2`
            (section 3.1), and 4 for `style`, as in the authors' code.
        truncation: ψ of a sample's style w̄ + ψ (w − w̄), from 0 (every image is that of the mean
            style w̄) to 1 (no truncation). A property: it can be set at any time.
        ema: Decay of the averaged generator.
        layer_noise: Noise of the layers of `stylegan2`, in training drawn for each image and step.
            Samples take `"fixed"`, one stored image per layer, which is what None takes; or
            `"random"`, where each image has its own: further numbers of its latent, so that
            `noise_dim` is larger than `latent_dim`. `"none"` makes networks without noise. A
            property: `"fixed"` and `"random"` can be exchanged at any time.
        style_mixing: Probability that an image of the training has two styles, the second from a
            random layer on; None takes 0.9 (arXiv 1812.04948, section 3.1) for `stylegan2`.
        style_dim: Dimensions of a style of `stylegan2`; None takes 512.
        **kwargs: Further arguments of `GAN`.

    Raises:
        ValueError: If a network is not style-based, or an option is out of range.

    Example:
        >>> import zoo
        >>> model = zoo.create("stylegan2", (8, 8, 1), 2, network="style-8")
        >>> model.truncation = 0.5
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 32
    learning_rate: ClassVar[float] = 2e-3
    betas: ClassVar[tuple[float, float]] = (0.0, 0.99)
    log_names = (*GAN.log_names, "path_length")

    def __init__(
        self,
        *,
        network: str = "style",
        normalization: str | None = "none",
        regularizer: str | None = "r1",
        regularizer_every: int = 16,
        path_length_weight: float | None = None,
        path_length_every: int | None = None,
        truncation: float = 1.0,
        ema: float | None = 0.999,
        layer_noise: str | None = None,
        style_mixing: float | None = None,
        style_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.is_full = network.partition("-")[0] == FULL
        given: dict[str, Any] = {
            "layer_noise": layer_noise,
            "style_mixing": style_mixing,
            "style_dim": style_dim,
        }
        _check_options(**given)
        self._layer_noise = (layer_noise or "fixed") if self.is_full else "none"
        self.style_mixing = MIXING if style_mixing is None else float(style_mixing)
        self.style_dim = stylegan2.STYLE_DIM if style_dim is None else int(style_dim)
        if path_length_every is None:
            path_length_every = 8 if self.is_full else 4
        if path_length_every < 1 or (path_length_weight is not None and path_length_weight < 0.0):
            msg = (
                f"path_length_weight={path_length_weight}, path_length_every={path_length_every}: "
                "expected at least 0 or None, and at least 1."
            )
            raise ValueError(msg)
        super().__init__(
            network=network, normalization=normalization, regularizer=regularizer,
            regularizer_every=regularizer_every, ema=ema, **kwargs,
        )  # fmt: skip
        for name, value in given.items():
            if value is not None and not self.is_full:
                msg = (
                    f"{name}={value!r}: it belongs to network='stylegan2', and this is "
                    f"{network!r}. Take that network, or leave it out."
                )
                raise ValueError(msg)
        if path_length_weight is None:
            size = math.sqrt(math.prod(self.image_shape[:2]))
            path_length_weight = 4.0 * math.log(2.0) / math.log(size / 2.0)
            if self.is_full:
                path_length_weight = FULL_WEIGHT
        self.path_length_weight = path_length_weight
        self.path_length_every = int(path_length_every)
        self.path_length = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="path_length"
        )
        self.truncation = truncation
        self._check_noise(self._layer_noise)
        self.trace_anew()  # with the numbers that random noise adds to a latent

    def new_generator(self, **options: Any) -> keras.Model:
        """A generator of the architecture."""
        if self.is_full:
            options |= {"style_dim": self.style_dim, "noise": self._layer_noise != "none"}
        return super().new_generator(**options)

    def new_discriminator(self, **options: Any) -> keras.Model:
        """A discriminator of the architecture."""
        if self.is_full:
            options |= {"style_dim": self.style_dim}
        return super().new_discriminator(**options)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        missing = set(LAYERS) - _names(self.generator)
        if missing:
            msg = (
                f"network={self.network!r}: the generator has no layer {sorted(missing)[0]!r}, "
                f"expected {', '.join(LAYERS)}. Take 'style', or pass a generator that has them."
            )
            raise ValueError(msg)
        if self.is_full and "by_layer" not in _names(self.generator.get_layer("synthesis")):
            msg = (
                f"network={self.network!r}: the generator's synthesis takes no style per layer. "
                "Take network='style', or a generator of zoo.networks.stylegan2."
            )
            raise ValueError(msg)
        super().check_networks()

    @property
    def truncation(self) -> float:
        """ψ of the networks that sample; setting it changes `generate` and exports at once."""
        return float(self.generator.get_layer("truncation").psi.numpy())

    @truncation.setter
    def truncation(self, psi: float) -> None:
        if not 0.0 <= psi <= 1.0:
            msg = f"truncation={psi}: expected 0 (all images alike) to 1 (no truncation)."
            raise ValueError(msg)
        for generator in (self.generator, self.sampling_generator):
            generator.get_layer("truncation").psi.assign(psi)

    # Noise of layers, and styles

    @property
    def layer_noise(self) -> str:
        """What noise the layers of samples take: "fixed", "random", or "none" without any."""
        return self._layer_noise

    @layer_noise.setter
    def layer_noise(self, noise: str) -> None:
        self._check_noise(noise)
        self._layer_noise = noise
        self.trace_anew()

    def _check_noise(self, noise: str) -> None:
        has = bool(self._noise_shapes())
        if noise not in NOISE or has != (noise != "none"):
            expected = "'fixed' or 'random'" if has else "'none', for the generator takes no noise"
            msg = f"layer_noise={noise!r}: expected {expected}."
            raise ValueError(msg)

    @property
    def noise_dim(self) -> int:
        """Dimensions of the latents that images are made from, random noise included."""
        # Keras asks before the networks are there.
        random = self._layer_noise == "random" and hasattr(self, "generator")
        return self.latent_dim + sum(map(math.prod, self._noise_shapes() if random else []))

    def _noise_shapes(self) -> list[tuple[int, ...]]:
        return stylegan2.noise_shapes(self.generator) if self.is_full else []

    @property
    def random_generator(self) -> keras.Model:
        """The network that samples, with its layers' noise as further numbers of the latents."""
        return stylegan2.with_noise_in_latents(self.sampling_generator, self.latent_dim)

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return ("random_generator",) if self._layer_noise == "random" else super().served_networks

    def images_from_latents(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images, float32 tensor [batch, height, width, channels] in [0, 1], of latents."""
        if self._layer_noise != "random":
            return super().images_from_latents(latents, labels)
        return self.random_generator(with_labels(latents, labels), training=False)

    def drawn_by(
        self, generator: keras.Model, latents: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """As `images_from_latents`, by the generator or its average."""
        if self._layer_noise == "random":
            generator = stylegan2.with_noise_in_latents(generator, self.latent_dim)
        return super().drawn_by(generator, latents, labels)

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of `GAN`; y, a direction for each image; and what mixes styles, and theirs."""
        noise = {**super().batch_noise(draw), "direction": draw("direction", self.image_shape)}
        if self.is_full and self.style_mixing:
            noise["mixing_latents"] = draw("mixing_latent", [self.latent_dim])
            noise["crossover"] = draw("crossover", [2], uniform=True)
        for i, shape in enumerate(self._noise_shapes()):
            noise[f"noise_{i}"] = draw(f"noise_{i}", shape)
        return noise

    def generated(self, generator: keras.Model, batch: dict[str, Any], *, training: bool) -> Tensor:
        """The images of a batch; in training with mixed styles and each with noise of its own."""
        if not self.is_full or not training:
            return super().generated(generator, batch, training=training)
        by_layer = stylegan2.layered(generator)
        return by_layer(self._with_noise(self.styles_by_layer(batch), batch), training=training)

    def styles_by_layer(self, batch: dict[str, Any]) -> Tensor:
        """The styles of each layer, [batch, layers, style_dim], mixed as in training."""
        count = stylegan2.layered(self.generator).inputs[0].shape[1]
        if not self.style_mixing:
            return tf.repeat(self._styles(batch)[:, None], count, axis=1)
        kept = [key for key in ("latents", "labels") if key in batch]
        both: dict[str, Any] = {key: [batch[key], batch[key]] for key in kept}
        both["latents"][1] = batch["mixing_latents"]
        joined = {key: tf.concat(values, axis=0) for key, values in both.items()}
        styles, others = tf.split(self._styles(joined)[:, None], 2)
        chance, place = tf.unstack(batch["crossover"][..., None], axis=1)
        first = 1.0 + tf.floor(place * (count - 1))  # from 1 on, so that both styles are used
        number = tf.range(count, dtype=tf.float32)
        mixed = (number >= first) & (chance < self.style_mixing)
        return tf.where(mixed[..., None], others, styles)

    def _with_noise(self, styles: Tensor, batch: dict[str, Any]) -> Any:
        """What `by_layer` takes."""
        noise = [batch[f"noise_{i}"] for i in range(len(self._noise_shapes()))]
        return [styles, *noise] if noise else styles

    # Penalties and averages

    def extend_batch(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """In training, the batch with `path_lengths` [batch], which are 0 in steps between."""
        if not training or not self.path_length_weight:
            return batch

        if self.is_full:
            by_layer = stylegan2.layered(self.generator)
            styles = self.styles_by_layer(batch)
        else:
            by_layer = self.generator.get_layer("synthesis")
            styles = self._styles(batch)

        def lengths() -> Any:
            def synthesize(w: Tensor) -> Any:
                return by_layer(self._with_noise(w, batch))

            return losses.path_lengths(synthesize, styles, batch["direction"])

        zeros = tf.zeros([tf.shape(batch["latents"])[0]])
        return {**batch, "path_lengths": tf.cond(self._is_due(), lengths, lambda: zeros)}

    def generator_penalty(self, batch: dict[str, Any]) -> Tensor:
        """γ_pl (‖J_wᵀ y‖ − a)² (eq. 4), [batch]; in every k-th step, k times as heavy."""
        if "path_lengths" not in batch:
            return None
        weight = self.path_length_weight * self.path_length_every
        squares = tf.square(batch["path_lengths"] - self.path_length.value)
        return weight * tf.cast(self._is_due(), tf.float32) * squares

    def auxiliary_logs(self, heads: list[Any], batch: dict[str, Any]) -> dict[str, Any]:
        """The average a for the log, and what `update_averages` adds to it."""
        size = [tf.shape(batch["latents"])[0]]
        logs = {
            **super().auxiliary_logs(heads, batch),
            "path_length": tf.fill(size, self.path_length.value),
        }
        if "path_lengths" in batch:
            logs["generator_path_lengths"] = batch["path_lengths"]
        return logs

    def update_averages(self, batch: dict[str, Any], logs: dict[str, Any]) -> None:
        """Moves w̄, and in the penalty's steps a, towards the means over the global batch."""
        styles = self._styles(batch)
        mean = all_reduce_sum(tf.reduce_sum(styles, axis=0)) / global_count(styles)
        average = self.generator.get_layer("truncation").average
        average.assign(STYLE_DECAY * average + (1.0 - STYLE_DECAY) * mean)
        if "generator_path_lengths" in logs:
            change = global_mean(logs["generator_path_lengths"]) - self.path_length.value
            due = tf.cast(self._is_due(), tf.float32)
            self.path_length.assign_add(due * (1.0 - LENGTH_DECAY) * change)
        super().update_averages(batch, logs)

    def _styles(self, batch: dict[str, Any]) -> Any:
        inputs = with_labels(batch["latents"], batch.get("labels"))
        return self.generator.get_layer("mapping")(inputs)

    def _is_due(self) -> Any:
        return self.step.value % self.path_length_every == 0

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """Adam; for `stylegan2` the paper's for lazy penalties, of rate c η and β^c."""
        lazy = {
            "generator_optimizer": (self.path_length_every, bool(self.path_length_weight)),
            "discriminator_optimizer": (self.regularizer_every, self.regularizer is not None),
        }
        every, penalized = lazy.get(name, (1, False))
        if not self.is_full or not penalized:
            return super().default_optimizer(name)
        c = every / (every + 1.0)
        return Adam(c * self.rate_of(name), *(beta**c for beta in self.betas))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ["path_length_weight", "path_length_every", "truncation"]
        if self.is_full:
            names += ["layer_noise", "style_mixing", "style_dim"]
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _names(network: keras.Model) -> set[str]:
    return {layer.name for layer in network.layers}


def _check_options(
    layer_noise: str | None, style_mixing: float | None, style_dim: int | None
) -> None:
    """Raises ValueError if an option is out of range."""
    if layer_noise not in (None, *NOISE):
        msg = f"layer_noise={layer_noise!r}: expected one of {', '.join(map(repr, NOISE))}."
        raise ValueError(msg)
    if style_mixing is not None and not 0.0 <= style_mixing <= 1.0:
        msg = f"style_mixing={style_mixing}: expected a probability from 0 (off) to 1, such as 0.9."
        raise ValueError(msg)
    if style_dim is not None and style_dim < 1:
        msg = f"style_dim={style_dim}: expected at least 1, such as 512."
        raise ValueError(msg)
