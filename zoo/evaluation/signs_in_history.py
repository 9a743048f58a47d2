"""What a run's history and its number of updates show. Pure functions, to a finding or None.

An entry of a history is one epoch of history.json: the means of the epoch, by name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zoo.evaluation.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What a discriminator pays that cannot tell: the least loss where both logits are the same. The
# Wasserstein loss has none: its critic is meant to be as good as it can.
CANNOT_TELL = {
    "non_saturating": 2.0 * math.log(2.0),  # −log ½ twice (arXiv 1406.2661, section 4.1)
    "least_squares": 0.25,  # both logits ½
    "hinge": 2.0,
    "relativistic": math.log(2.0),
}
# A tenth of it: a probability of 0.93 for the right answer, on average, of the first loss.
TOO_STRONG = 0.1
RECENT = 0.25  # the last part of the epochs, whose mean counts
# A rise that takes back half of all that was won; and a tenth of the loss, which noise is not.
LOST, OF_THE_LOSS = 0.5, 0.1
# Measured on 540 images (docs/own_images.md): after 170 updates nothing has a shape, after 1,700
# three quarters of what 5,100 give is won.
FEW_UPDATES, ENOUGH_UPDATES = 1000, 2000
SMALL_BATCH = 32


def discriminator_too_strong(
    history: Sequence[Mapping[str, Any]], loss: str = "non_saturating"
) -> Finding | None:
    """Whether the discriminator hardly ever errs, so that the generator learns little from it.

    It is if the mean of `discriminator_loss` over the last quarter of the epochs is below a tenth
    of what a discriminator pays that cannot tell real from generated images.

    Args:
        history: Entries of history.json.
        loss: The adversarial loss, one of `zoo.losses.ADVERSARIAL`.

    Example:
        >>> from zoo.evaluation.signs_in_history import discriminator_too_strong
        >>> discriminator_too_strong([{"discriminator_loss": 0.02}]).name
        'discriminator too strong'
        >>> discriminator_too_strong([{"discriminator_loss": 0.9}]) is None
        True
    """
    losses = [e["discriminator_loss"] for e in history if "discriminator_loss" in e]
    if not losses or loss not in CANNOT_TELL:
        return None
    last = losses[-max(1, round(RECENT * len(losses))) :]
    mean, most = sum(last) / len(last), CANNOT_TELL[loss]
    if not mean < TOO_STRONG * most:
        return None
    return Finding(
        "discriminator too strong",
        f"its loss is {mean:.3g} over the last {_epochs(len(last))}; one that cannot tell pays "
        f"{most:.3g}, and below {TOO_STRONG * most:.2g} it leaves the generator little to learn.",
        "A lower rate for it (--discriminator-learning-rate, or --option ttur=0.5), a penalty on "
        "its gradient (--option regularizer=r1), or other images for it to tell "
        "(--option diff_augment=color,translation,cutout), above all with few images.",
        "arXiv 1701.04862, section 2; 1801.04406; 2006.10738",
    )


def loss_spikes(history: Sequence[Mapping[str, Any]], name: str = "loss") -> Finding | None:
    """Whether a loss rose again, by half of all that was won: the learning rate is too high.

    The rise must also be a tenth of the loss before it, which the noise of an epoch's mean is not.
    Only a loss that training minimises itself falls from epoch to epoch: that of a VAE whose weight
    of the rate is constant, and no player's of a GAN.

    Args:
        history: Entries of history.json.
        name: The loss in it.

    Example:
        >>> from zoo.evaluation.signs_in_history import loss_spikes
        >>> loss_spikes([{"loss": value} for value in (400.0, 300.0, 380.0)]).name
        'learning rate too high'
        >>> loss_spikes([{"loss": value} for value in (400.0, 300.0, 301.0)]) is None
        True
    """
    losses = [entry[name] for entry in history if name in entry]
    if len(losses) < 3:
        return None
    won = losses[0] - min(losses)
    best, worst, at = losses[0], 0.0, 0
    before = best
    for epoch, value in enumerate(losses):
        if value - best > worst:
            worst, at, before = value - best, epoch, best
        best = min(best, value)
    if not (worst > LOST * won and worst > OF_THE_LOSS * abs(before)):
        return None
    return Finding(
        "learning rate too high",
        f"{name} rose from {before:.4g} to {losses[at]:.4g} at epoch {at + 1}: more than half of "
        f"the {won:.4g} that training won.",
        "A third of the learning rate (--learning-rate), or smaller steps where a gradient is "
        "large (--clip-norm 1).",
        "arXiv 1206.5533, section 3.1; 1211.5063",
    )


def too_few_updates(
    updates: int, images: int, batch_size: int, *, minibatches: int = 1, parts: int = 1
) -> Finding | None:
    """Whether a run has fewer than 1,000 updates in all, and how it gets 2,000.

    Args:
        updates: Steps of the whole run.
        images: Training images.
        batch_size: Images per update.
        minibatches: Updates of the critic per step.
        parts: Replicas times parts of a batch, which the batch size is a multiple of.

    Example:
        >>> from zoo.evaluation.signs_in_history import too_few_updates
        >>> print(too_few_updates(updates=130, images=850, batch_size=64).helps)
        Take --batch-size 32 and --epochs 100.
        >>> too_few_updates(updates=1000, images=850, batch_size=64) is None
        True
    """
    if updates >= FEW_UPDATES or images < batch_size * minibatches:
        return None
    smaller = batch_size > SMALL_BATCH and SMALL_BATCH % parts == 0
    size = SMALL_BATCH if smaller else batch_size
    epochs = _round_up(ENOUGH_UPDATES / (images // (size * minibatches)))
    each = images // (batch_size * minibatches)
    take = f"--batch-size {size} and --epochs {epochs}" if smaller else f"--epochs {epochs}"
    return Finding(
        "too few updates",
        f"{each:,} {'update' if each == 1 else 'updates'} per epoch, {updates:,} in all; with "
        f"fewer than {FEW_UPDATES:,}, samples hardly have a shape.",
        f"Take {take}.",
        "arXiv 1705.08741 (updates count, not epochs)",
    )


def _epochs(n: int) -> str:
    return "epoch" if n == 1 else f"{n} epochs"


def _round_up(number: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …."""
    ten = 10 ** math.floor(math.log10(max(number, 1.0)))
    return next(int(ten * each) for each in (1, 2, 5, 10) if ten * each >= number)
