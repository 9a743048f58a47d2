"""The transformations of networks, each a pure function `rule(network, ...) -> network`.

They compute in float64; `zoo.convert.building.build` rounds once. Arrays that a rule changes carry
its name, and what a user should know is in the network's notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.convert.layout import to_channels_last
from zoo.convert.rules import (
    activation,
    batch_norm,
    channels,
    conditional,
    latent,
    spectral,
    upsampling,
    width,
)
from zoo.convert.rules.activation import (
    images_from_logits,
    images_from_values,
    logits_from_images,
    merge_rescalings,
    output_range,
)
from zoo.convert.rules.batch_norm import (
    batch_norm_drift,
    fold_batch_norm,
    fold_norms,
    insert_batch_norm,
    moments,
    recalibrate_batch_norm,
)
from zoo.convert.rules.channels import absorb_channel_permutation
from zoo.convert.rules.conditional import add_label, embedding_to_one_hot, fix_label
from zoo.convert.rules.latent import (
    affine_latent,
    dropped_energy,
    label_input,
    latent_directions,
    latent_input,
    resize_latent,
    transport_prior,
    unit_conv_transpose_to_dense,
)
from zoo.convert.rules.spectral import unwrap_spectral_norm
from zoo.convert.rules.upsampling import (
    conv_transpose_to_upsample_conv,
    upsample_conv_to_conv_transpose,
)
from zoo.convert.rules.width import widen

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.convert.blocks import Network


@dataclass(frozen=True)
class Rule:
    """A transformation.

    Attributes:
        name: As reports show it.
        function: Maps a network, and the rule's own arguments, to a network.
        summary: Its formula, and where it is from.
        exact: Whether the function stays the same up to rounding (of a prior: its law).
    """

    name: str
    function: Callable[..., Network]
    summary: str
    exact: bool = True


RULES: dict[str, Rule] = {
    rule.function.__name__: rule
    for rule in (
        Rule(
            activation.LOGITS,
            logits_from_images,
            "sigmoid(2x) = (tanh x + 1) / 2: the output activation goes, last kernel and bias × 2",
        ),
        Rule(
            activation.IMAGES,
            images_from_logits,
            "(tanh(x / 2) + 1) / 2 = sigmoid(x): last kernel and bias × ½, then tanh",
        ),
        Rule(
            activation.CUT,
            images_from_values,
            "min(max(x, 0), 1), where a decoder's values are the pixels",
        ),
        Rule(
            activation.MERGE,
            merge_rescalings,
            "(x s₁ + o₁) s₂ + o₂ = x s₁s₂ + (o₁s₂ + o₂)",
        ),
        Rule(
            batch_norm.FOLD,
            fold_norms,
            "s = γ / √(v + ε): K' = K s, b' = (b − m) s + β (arXiv 1712.05877, section 3.2)",
        ),
        Rule(
            batch_norm.INSERT,
            insert_batch_norm,
            "γ = √(v + ε), β = m, with the moments m and v under the prior",
        ),
        Rule(
            batch_norm.RECALIBRATE,
            recalibrate_batch_norm,
            "moving statistics = moments under the prior, in topological order",
            exact=False,
        ),
        Rule(
            upsampling.MERGE,
            upsample_conv_to_conv_transpose,
            "K' = flip(K) convolved with ones(s, s), stride s",
        ),
        Rule(
            upsampling.SPLIT,
            conv_transpose_to_upsample_conv,
            "the inverse, by least squares, where the kernel is in the map's image",
        ),
        Rule(
            latent.TO_DENSE,
            unit_conv_transpose_to_dense,
            "K (h, w, out, z) → K.transpose(3, 0, 1, 2).reshape(z, −1)",
        ),
        Rule(latent.AFFINE, affine_latent, "z = A ε + m: K' = AᵀK, b' = b + m K"),
        Rule(
            latent.RESIZE,
            resize_latent,
            "larger: zero rows, exact; smaller: K = U S Vᵀ, K' = S_k V_kᵀ, error Σ_{i>k} σᵢ²",
            exact=False,
        ),
        Rule(
            latent.TRANSPORT,
            transport_prior,
            "a layer maps N(0, I) to the prior, by its inverse distribution function",
        ),
        Rule(
            spectral.UNWRAP,
            unwrap_spectral_norm,
            "the stored kernel, which is normalised already (arXiv 1802.05957); of the zoo's own "
            "layers, W / σ(W)",
        ),
        Rule(
            width.WIDEN,
            widen,
            "outputs replicated, kernels after them divided by the count (arXiv 1511.05641)",
        ),
        Rule(
            conditional.ONE_HOT,
            embedding_to_one_hot,
            "Embedding(y) = onehot(y) E: the rows of the Dense layer after it are E K",
        ),
        Rule(
            conditional.FIX,
            fix_label,
            "the label's constant c: b' = b + c K_c where joined, K' = diag(c) K where multiplied",
        ),
        Rule(
            conditional.ADD,
            add_label,
            "one-hot rows join the latent, their kernel rows 0; BatchNorm's γ and β for each class",
        ),
        Rule(
            channels.ABSORB,
            absorb_channel_permutation,
            "the Permute as an order of a Dense layer's columns or rows",
        ),
        Rule(
            channels.LAST,
            to_channels_last,
            "the same kernels between Permutes, which cancel",
        ),
    )
}

__all__ = [
    "RULES",
    "Rule",
    "absorb_channel_permutation",
    "add_label",
    "affine_latent",
    "batch_norm_drift",
    "conv_transpose_to_upsample_conv",
    "dropped_energy",
    "embedding_to_one_hot",
    "fix_label",
    "fold_batch_norm",
    "fold_norms",
    "images_from_logits",
    "images_from_values",
    "insert_batch_norm",
    "label_input",
    "latent_directions",
    "latent_input",
    "logits_from_images",
    "merge_rescalings",
    "moments",
    "output_range",
    "recalibrate_batch_norm",
    "resize_latent",
    "to_channels_last",
    "transport_prior",
    "unit_conv_transpose_to_dense",
    "unwrap_spectral_norm",
    "upsample_conv_to_conv_transpose",
    "widen",
]
