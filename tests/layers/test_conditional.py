"""Conditional batch normalisation against PyTorch's."""

from __future__ import annotations

import numpy as np

from tests.support.small_networks import (
    CLASSES,
    LABELS,
)
from zoo.layers import ConditionalBatchNormalization


def test_conditional_batch_norm_is_pytorchs_with_a_gain_and_a_bias_a_class() -> None:
    import torch

    layer = ConditionalBatchNormalization(CLASSES)
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, (4, 5, 6, 7)).astype(np.float32)
    layer.build(x.shape, LABELS.shape)
    gamma, beta = rng.normal(size=(2, CLASSES, 7)).astype(np.float32)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    theirs = torch.nn.BatchNorm2d(7, affine=False, eps=1e-5, momentum=0.1)
    for training in (True, False):
        theirs.train(training)
        normalized = theirs(torch.tensor(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
        wanted = gamma[LABELS][:, None, None] * normalized + beta[LABELS][:, None, None]
        found = layer(x, LABELS, training=training)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        # PyTorch keeps the unbiased variance.
        theirs.running_var = torch.tensor(np.asarray(layer.normalize.moving_variance))
    np.testing.assert_allclose(layer.normalize.moving_mean, theirs.running_mean, rtol=1e-5)
