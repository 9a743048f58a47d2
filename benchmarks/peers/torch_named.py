"""PyTorch modules whose parameters have the names that Keras's weights have, and their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

# Channels first: a kernel of a convolution is [out, in, height, width], an image has no batch.
AXES = {4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0)}


def load(module: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Gives a module the weights of a Keras network, every one of them.

    Args:
        module: Its parameters and buffers have the names of the weights, with "." for "/".
        arrays: By "layer/weight", in Keras's layout.

    Raises:
        RuntimeError: If a name is missing on either side, or a shape differs.
    """
    state = {
        name.replace("/", "."): torch.from_numpy(
            np.array(array.transpose(AXES.get(array.ndim, range(array.ndim))))
        )
        for name, array in arrays.items()
    }
    module.load_state_dict(state)
