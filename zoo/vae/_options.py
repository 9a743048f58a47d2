"""The checks that all VAEs share: of their options, and of what their hooks return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.core.hooks import check_names
from zoo.vae._likelihoods import LIKELIHOODS

if TYPE_CHECKING:
    from zoo.vae.base import BaseVAE


def check_options(
    vae: BaseVAE, likelihood: str, warm_up: int, cycle: int, free_bits: float
) -> None:
    """Checks the options of a VAE's loss, as `BaseVAE` describes them.

    Raises:
        ValueError: If an option is out of range, contradicts another one, or has one value only in
            this model.
    """
    given = {"likelihood": likelihood, "warm_up": warm_up, "free_bits": free_bits}
    for name, only in vae.fixed_options.items():
        if given[name] != only:
            msg = f"{name}={given[name]!r}: {vae.model_name} has {only!r} alone. Leave it out."
            raise ValueError(msg)
    if likelihood not in LIKELIHOODS:
        msg = f"likelihood={likelihood!r}: expected one of {tuple(LIKELIHOODS)}."
        raise ValueError(msg)
    if min(warm_up, cycle, free_bits) < 0:
        msg = f"warm_up={warm_up}, cycle={cycle}, free_bits={free_bits}: expected at least 0."
        raise ValueError(msg)
    if cycle and not 0 < warm_up <= cycle:
        msg = f"cycle={cycle} repeats a warm_up of {warm_up} steps: expected 1 to {cycle}."
        raise ValueError(msg)
    if free_bits and "rate" not in vae.weights_of_terms:
        msg = f"free_bits={free_bits}: {vae.model_name} has no rate in its loss to be free of."
        raise ValueError(msg)


def logits_shape(vae: BaseVAE) -> tuple[int, int, int]:
    """Shape of the decoder's logits of one image: (height, width, logits per pixel)."""
    height, width, channels = vae.image_shape
    return height, width, vae.pixels.logits_per_pixel(channels)


def named_outputs(vae: BaseVAE, outputs: Any) -> dict[str, Any]:
    """What `forward` returned, if it is what `terms` needs.

    Raises:
        TypeError: If it is no dict, as in earlier versions.
        ValueError: If it has no logits.
    """
    where = f"{type(vae).__name__}.forward"
    if not isinstance(outputs, dict):
        msg = (
            f"{where} returned a {type(outputs).__name__}: expected a dict of tensors by name, "
            '{"mean": …, "log_variance": …, "latents": …, "logits": …}.'
        )
        raise TypeError(msg)
    check_names("BaseVAE.terms", ["logits"], f"outputs of {where}", outputs)
    return outputs


def weighted_sum(vae: BaseVAE, terms: dict[str, Any]) -> Any:
    """The regularization of a VAE's loss: Σ weight · term, [batch].

    Raises:
        ValueError: If a weight is of no term.
    """
    where = f"{type(vae).__name__}.weights_of_terms"
    check_names(where, vae.weights_of_terms, "regularization_terms", terms)
    return sum(weight * terms[name] for name, weight in vae.weights_of_terms.items())
