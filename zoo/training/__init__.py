"""The training core, strategies, and the run that writes a folder."""

from zoo.training.strategies import strategy

__all__ = ["strategy"]
