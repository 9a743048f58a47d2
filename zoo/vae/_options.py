"""The check of the options that all VAEs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
