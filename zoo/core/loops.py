"""Keras's loops with checks. docs/keras.md says what each of their arguments does here."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.core import callbacks
from zoo.core.batches import CheckedBatches, DataError, no_weights, plain_errors
from zoo.core.compiling import without_loss_scale
from zoo.core.keras_fixes import KerasFixes
from zoo.data import checked

FIRST = 256  # images of an array that `fit` looks at before it trains


class CheckedLoops(CheckedBatches, KerasFixes):
    """`fit`, `evaluate`, `predict` and the methods for one batch: their errors are one sentence."""

    predict_function: Any
    optimizer_names: tuple[str, ...]

    @functools.wraps(keras.Model.fit, assigned=())
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras. Refuses arguments that would do nothing here, or harm.

        Raises:
            ValueError: If weights are given, a callback cannot work with this model, or images or
                labels are not what the model takes. The first images of an array are checked before
                any step.
        """
        given = inspect.signature(keras.Model.fit).bind(self, *args, **kwargs).arguments
        if given.get("class_weight") is not None:
            raise ValueError(no_weights("class_weight", self))
        batched = (tf.data.Dataset, tf.distribute.DistributedDataset, keras.utils.PyDataset)
        if given.get("batch_size") is not None and isinstance(given.get("x"), batched):
            msg = (
                f"batch_size={given['batch_size']}: a data set has batches of its own. Leave it "
                "out, or give the data set this size."
            )
            raise ValueError(msg)
        if isinstance(given.get("x"), batched[:2]):
            given.setdefault("shuffle", False)  # Keras's default warns that it is ignored
        self._check_averages()
        given["callbacks"] = callbacks.adapted(given.get("callbacks"), self)
        self._check_arrays(given, "")
        held_out = given.get("validation_data")
        if isinstance(held_out, (list, tuple)):
            x, y, weights = keras.utils.unpack_x_y_sample_weight(tuple(held_out))
            parts = {"x": x, "y": y, "sample_weight": weights}
            self._check_arrays(parts, "validation ")
            given["validation_data"] = tuple(part for part in parts.values() if part is not None)
        with plain_errors():
            return super().fit(**{name: given[name] for name in given if name != "self"})

    @functools.wraps(keras.Model.evaluate, assigned=())
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras.

        Raises:
            ValueError: As `fit`.
        """
        bound = inspect.signature(keras.Model.evaluate).bind(self, *args, **kwargs)
        given = {**bound.arguments, **bound.arguments.pop("kwargs", {})}
        self._check_arrays(given, "")
        given = {name: given[name] for name in given if name not in ("self", "kwargs")}
        with plain_errors():
            results = super().evaluate(**given)
        self.check_data()
        return results

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; raises ValueError as `fit`."""
        with plain_errors():
            logs = super().train_on_batch(*args, **kwargs)
        self.check_data()
        return logs

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; raises ValueError as `fit`."""
        with plain_errors():
            logs = super().test_on_batch(*args, **kwargs)
        self.check_data()
        return logs

    def make_predict_function(self, force: bool = False) -> Any:  # noqa: FBT001, FBT002
        """What `predict` calls with batches, which are checked here: the model's graph cannot."""
        if self.predict_function is None or force:
            super().make_predict_function(force)
            function = self.predict_function

            def checking(batches: Any) -> Any:
                for batch in batches:
                    x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
                    for part in self.distribute_strategy.experimental_local_results(x):
                        self.check_inputs(part)
                return function(batches)

            self.predict_function = checking
        return self.predict_function

    def _check_averages(self) -> None:
        # Here, and not in `compile`: a model that was saved with such an optimizer loads.
        for name in self.optimizer_names:
            optimizer = getattr(self, name, None)
            if getattr(without_loss_scale(optimizer), "use_ema", False):
                msg = (
                    f"{name} has use_ema=True: Keras would put the averages in place of the "
                    "weights at the end of each `fit`, and no run could go on from there. "
                    f"{callbacks.average_advice(self)}"
                )
                raise ValueError(msg)

    def _check_arrays(self, given: dict[str, Any], what: str) -> None:
        """Checks the arguments x, y and sample_weight of a loop where they are arrays.

        Makes labels int32, or drops them if the model needs none. The first images are checked here
        before any step. The steps check all.
        """
        if given.get("sample_weight") is not None:
            raise ValueError(no_weights(f"{what}sample_weight", self))
        x, y = given.get("x"), given.get("y")
        if x is None or isinstance(x, (str, bytes)) or _is_empty(x):
            held = "an array without any" if hasattr(x, "shape") else f"a {type(x).__name__}"
            msg = (
                f"The {what}images are {held}; expected an array [batch, height, width, channels], "
                "or a data set of such batches. `zoo.train` takes folders and files too."
            )
            raise DataError(msg)
        if isinstance(x, (list, tuple, dict)):
            self._checked_images(x)
        if not isinstance(x, (np.ndarray, tf.Tensor)):
            return
        self._floating_images(x[:FIRST])
        checked.checked_pixels(x[:FIRST], f"The {what}images")
        if not self.num_classes:
            given["y"] = None
        elif y is not None:
            given["y"] = checked.checked_labels(y, self.num_classes, f"The {what}labels")


def _is_empty(x: Any) -> bool:
    return isinstance(x, (np.ndarray, tf.Tensor)) and x.shape[:1] == (0,)
