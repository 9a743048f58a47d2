"""What keeps a discriminator from memorising few images, in every GAN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.core.model import ZooModel
from zoo.core.replicas import all_reduce_sum
from zoo.layers import ada as ada_transforms
from zoo.layers.diff_augment import diff_augment as apply_diff_augment
from zoo.layers.diff_augment import parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.io.types import Tensor

TARGET = 0.6  # of r_t, as ADA and APA have it
IMAGES = 500_000  # real images shown while p goes from 0 to 1
EVERY = 4  # steps from one move of p to the next
LECAM_DECAY = 0.99  # of α_R and α_F (arXiv 2104.03310, section 4)


class LittleData(ZooModel):
    """Augmentation and regularisation of a discriminator, with their state.

    ADA and APA share one controller: r_t = E[sign D(x)] over the real images of `EVERY` steps of
    all replicas says how sure the discriminator is, and p goes up by the share of `augment_images`
    that these images are if r_t > `augment_target`, or else down (arXiv 2006.06676, section 3.1).
    p and the sums are variables of the model. The logs have p, as `augment_p`, and `r_t`.

    A gradient penalty is on the gradient of D(T(x)) at x, through the augmentation T, as in the
    authors' code of StyleGAN2-ADA. Departure: p stays in [0, 1], where the authors' code bounds it
    from below alone, although p > 1 does what p = 1 does.

    Args:
        diff_augment: How real and generated images are augmented, alike, before the discriminator
            sees them: some of "color,translation,cutout" (arXiv 2006.10738). None does not.
        ada: The same with probability p per transform (ADA, arXiv 2006.06676): letters of the
            pipeline, b (pixel blitting), g (general geometric), c (colour), f (filtering), n
            (noise), x (cutout). The paper takes "bgc". None does not.
        apa: Whether the discriminator is shown generated images as real ones, each with probability
            p (APA, arXiv 2111.06849), in training.
        augment_p: p of `ada` or `apa`, from 0 to 1, if it is to stay; None moves it, from 0 on.
        augment_target: r_t at which p stays; None takes 0.6.
        augment_images: Real images, over which p can go from 0 to 1; None takes 500,000.
        lecam: Weight λ of the regulariser of LeCam (arXiv 2104.03310, section 3.2),
            ‖D(x) − α_F‖² + ‖D(G(z)) − α_R‖², in the discriminator's loss; None for none. α_R and
            α_F are averages of D(x) and D(G(z)) over steps before. The paper's λ are from 0.01 to
            0.5. Departure from the authors' code, which squares D(x) − α_F and α_R − D(G(z)) where
            they are positive only.

    Raises:
        ValueError: If an option is out of range, `ada` meets `diff_augment` or `apa`, or p has
            options without `ada` or `apa`.
    """

    generator: Any
    generated: Callable[..., Any]  # that of `BaseGAN`

    def __init__(
        self,
        *,
        diff_augment: str | None = None,
        ada: str | None = None,
        apa: bool = False,
        augment_p: float | None = None,
        augment_target: float | None = None,
        augment_images: int | None = None,
        lecam: float | None = None,
        **kwargs: Any,
    ) -> None:
        controls = {
            "augment_p": augment_p,
            "augment_target": augment_target,
            "augment_images": augment_images,
        }
        _check_options(diff_augment, ada, apa=apa, lecam=lecam, **controls)
        if ada is not None or apa:
            self.log_names = (*self.log_names, "augment_p", "r_t")
        if lecam is not None:
            self.log_names = (*self.log_names, "lecam")
        super().__init__(**kwargs)
        self.diff_augment = diff_augment
        self.augmentations = parse_policy(diff_augment)
        self.ada = ada
        self.apa = apa
        self.controls = controls
        self.target = TARGET if augment_target is None else float(augment_target)
        self.images_to_one = float(IMAGES if augment_images is None else augment_images)
        self.lecam = lecam
        if ada is not None:
            ada_transforms.check_transforms(ada, self.image_shape[-1])
        self.augment_p: Any = augment_p  # a number, unless it moves
        self.adapts = augment_p is None and (ada is not None or apa)
        if self.adapts:
            self.augment_p = self._state("augment_p", ())
            self.signs = self._state("signs", (2,))  # sum of the signs, number of them
        if lecam is not None:
            self.logit_averages = self._state("logit_averages", (2,))  # α_R, α_F

    def _state(self, name: str, shape: Sequence[int]) -> Any:
        return self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name)

    # What the discriminator sees

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of the augmentations, each [batch, ...]."""
        noise: dict[str, Any] = {}
        for name in ("real", "fake"):
            if self.augmentations:
                noise[f"augment_{name}"] = draw(f"augment_{name}", [7], uniform=True)
            if self.ada is not None:
                size = [ada_transforms.UNIFORM_DRAWS]
                noise[f"augment_{name}"] = draw(f"augment_{name}", size, uniform=True)
                size = [ada_transforms.NORMAL_DRAWS]
                noise[f"augment_{name}_normal"] = draw(f"augment_{name}_normal", size)
            if "n" in (self.ada or ""):
                noise[f"augment_{name}_pixels"] = draw(f"augment_{name}_pixels", self.image_shape)
        if self.apa:
            noise["pseudo_latents"] = draw("pseudo_latent", [self.latent_dim])
            noise["pseudo_chance"] = draw("pseudo_chance", [1, 1, 1], uniform=True)
        return noise

    def augmented(self, images: Tensor, batch: dict[str, Any], *, real: bool) -> Tensor:
        """The images as the discriminator sees them: the one place where they are augmented."""
        name = f"augment_{'real' if real else 'fake'}"
        if self.augmentations:
            images = apply_diff_augment(images, batch[name], self.augmentations)
        if self.ada is not None:
            noise = (batch[name], batch[f"{name}_normal"], batch.get(f"{name}_pixels"))
            images = ada_transforms.ada(images, self._p, self.ada, *noise)
        return images

    def with_pseudo_reals(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """In training with APA, the batch with generated images among the real ones."""
        if not self.apa or not training:
            return batch
        latents = {**batch, "latents": batch["pseudo_latents"]}
        pseudo = tf.stop_gradient(self.generated(self.generator, latents, training=True))
        shown = tf.where(batch["pseudo_chance"] < self._p, pseudo, batch["images"])
        return {**batch, "images": shown}

    @property
    def _p(self) -> Any:
        return tf.convert_to_tensor(self.augment_p, tf.float32)

    # The controller, and LeCam's averages

    def augmentation_logs(self, real_logits: Tensor) -> dict[str, Any]:
        """`augment_p` and `r_t`, each [batch], where p augments."""
        if self.ada is None and not self.apa:
            return {}
        signs = _signs(real_logits)[:, 0]
        return {"augment_p": tf.fill(tf.shape(signs), self._p), "r_t": signs}

    def observe(self, logs: dict[str, Any]) -> None:
        """Keeps what a discriminator's update saw, of all replicas."""
        if not self.adapts and self.lecam is None:
            return
        real, fake = logs["real_logit"], logs["fake_logit"]
        count = tf.cast(tf.shape(real)[0], tf.float32)
        sums = [count, *(tf.reduce_sum(x) for x in (_signs(real), real, fake))]
        count, signs, *logits = tf.unstack(all_reduce_sum(tf.stack(sums)))
        if self.adapts:
            self.signs.assign_add(tf.stack([signs, count]))
        if self.lecam is not None:
            # A plain mean of the first hundred steps: it need not forget the 0 that it begins at.
            step = tf.cast(self.step.value, tf.float32)
            decay = tf.minimum(LECAM_DECAY, step / (1.0 + step))
            means = tf.stack(logits) / tf.maximum(count, 1.0)
            moved = decay * self.logit_averages + (1.0 - decay) * means
            # As an optimizer skips an update that is not finite.
            finite = tf.reduce_all(tf.math.is_finite(means))
            self.logit_averages.assign(tf.where(finite, moved, self.logit_averages.value))

    def adapt(self) -> None:
        """Moves p, after every fourth step."""
        if not self.adapts:
            return
        due = (self.step.value + 1) % EVERY == 0
        signs, count = tf.unstack(self.signs.value)
        direction = tf.sign(signs / tf.maximum(count, 1.0) - self.target)
        moved = self.augment_p + direction * count / self.images_to_one
        moved = tf.clip_by_value(moved, 0.0, 1.0)
        self.augment_p.assign(tf.where(due, moved, self.augment_p.value))
        self.signs.assign(tf.where(due, tf.zeros([2]), self.signs.value))

    def logit_regularizers(
        self,
        real_logits: Tensor,
        fake_logits: Tensor,
        batch: dict[str, Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Terms added to the discriminator's loss, by name, each [batch]: here LeCam's.

        They are logged where `log_names` has them. An override adds its own to those of
        `super().logit_regularizers(...)`, and all add up, gradient penalties included.

        Args:
            real_logits: Of real images, [batch, 1].
            fake_logits: Of generated images, like `real_logits`.
            batch: The images, labels and noise.
        """
        if self.lecam is None:
            return {}
        of_real, of_fake = tf.unstack(self.logit_averages.value)
        squares = tf.square(real_logits - of_fake) + tf.square(fake_logits - of_real)
        return {"lecam": self.lecam * squares[:, 0]}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; those of what is not in use are left out."""
        others = {"ada": self.ada, "apa": self.apa or None, "lecam": self.lecam, **self.controls}
        used = {name: value for name, value in others.items() if value is not None}
        return {**super().get_config(), "diff_augment": self.diff_augment, **used}


def _signs(logits: Tensor) -> Tensor:
    """−1, 0 or 1, like the logits; 0 for what is not a number."""
    return tf.where(tf.math.is_nan(logits), 0.0, tf.sign(logits))


def _check_options(
    diff_augment: str | None,
    ada: str | None,
    *,
    apa: bool,
    lecam: float | None,
    **controls: float | None,
) -> None:
    """Raises ValueError if the options contradict each other or are out of range."""
    others = [name for name, on in (("diff_augment", diff_augment), ("apa", apa)) if on]
    if ada is not None and others:
        values = {"diff_augment": diff_augment, "apa": apa}
        msg = (
            f"ada={ada!r}, {others[0]}={values[others[0]]!r}: expected one of them, for both "
            f"change what the discriminator is shown. Leave out {others[0]} or ada."
        )
        raise ValueError(msg)
    given = {name: value for name, value in controls.items() if value is not None}
    if given and ada is None and not apa:
        name = next(iter(given))
        msg = f"{name}={given[name]}: it belongs to ada or apa. Add ada='bgc', or leave it out."
        raise ValueError(msg)
    p = given.pop("augment_p", None)
    if p is not None and not 0.0 <= p <= 1.0:
        msg = f"augment_p={p}: expected a probability from 0 to 1, or None to adapt it."
        raise ValueError(msg)
    if p is not None and given:
        name = next(iter(given))
        msg = f"augment_p={p}, {name}={given[name]}: a p that is given stays. Leave out one."
        raise ValueError(msg)
    if abs(given.get("augment_target", 0.0)) > 1.0:
        msg = f"augment_target={given['augment_target']}: expected a mean of signs, from -1 to 1."
        raise ValueError(msg)
    if given.get("augment_images", 1) < 1:
        msg = f"augment_images={given['augment_images']}: expected at least 1, such as 500000."
        raise ValueError(msg)
    if lecam is not None and lecam < 0.0:
        msg = f"lecam={lecam}: expected a weight of at least 0, such as 0.3, or None."
        raise ValueError(msg)
