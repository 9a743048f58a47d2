"""Layers that Keras lacks. Importing this package makes all of them known to Keras."""

from zoo.layers.attention import PositionAttention, SelfAttention2D
from zoo.layers.bilinear import BilinearResize
from zoo.layers.conditional import ConditionalBatchNormalization
from zoo.layers.features import FeatureModulation, FeatureSlice
from zoo.layers.gating import AdaptiveAveragePooling, GatedLinearUnit, erf_gelu
from zoo.layers.grouped import GroupedConv2D
from zoo.layers.minibatch import MinibatchDeviation
from zoo.layers.per_layer import LatentPart, NoiseInjection, StoredNoise, StyleOfLayer
from zoo.layers.priors import (
    FROM_NORMAL,
    PRIORS,
    HypersphereFromNormal,
    TruncatedNormalFromNormal,
    UniformFromNormal,
    prior_layer,
    truncated_normal,
)
from zoo.layers.quantization import VectorQuantizer, commitment_loss, perplexity
from zoo.layers.quantizers import (
    FiniteScalarQuantizer,
    ResidualQuantizer,
    StraightThroughQuantizer,
)
from zoo.layers.resampling import FilteredUpSampling2D, ModulatedUpConv2D
from zoo.layers.spectral import SpectralConv2D, SpectralDense, SpectralLayer
from zoo.layers.style import (
    Blur,
    EqualizedConv2D,
    EqualizedDense,
    LearnedConstant,
    ModulatedConv2D,
    Truncation,
    scaled_leaky_relu,
)

__all__ = [
    "FROM_NORMAL",
    "PRIORS",
    "AdaptiveAveragePooling",
    "BilinearResize",
    "Blur",
    "ConditionalBatchNormalization",
    "EqualizedConv2D",
    "EqualizedDense",
    "FeatureModulation",
    "FeatureSlice",
    "FilteredUpSampling2D",
    "FiniteScalarQuantizer",
    "GatedLinearUnit",
    "GroupedConv2D",
    "HypersphereFromNormal",
    "LatentPart",
    "LearnedConstant",
    "MinibatchDeviation",
    "ModulatedConv2D",
    "ModulatedUpConv2D",
    "NoiseInjection",
    "PositionAttention",
    "ResidualQuantizer",
    "SelfAttention2D",
    "SpectralConv2D",
    "SpectralDense",
    "SpectralLayer",
    "StoredNoise",
    "StraightThroughQuantizer",
    "StyleOfLayer",
    "TruncatedNormalFromNormal",
    "Truncation",
    "UniformFromNormal",
    "VectorQuantizer",
    "commitment_loss",
    "erf_gelu",
    "perplexity",
    "prior_layer",
    "scaled_leaky_relu",
    "truncated_normal",
]
