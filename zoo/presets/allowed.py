"""Which Keras objects a configuration may name: those that only compute.

Keras makes whatever class a configuration names. Some classes of Keras run code from the file
(Lambda, TorchModuleWrapper) or read other files (TFSMLayer, StringLookup). So the allowed classes
are listed.
"""

from __future__ import annotations

from typing import Any

import keras

_LAYERS = """
    Activation ActivityRegularization Add Average AveragePooling2D BatchNormalization
    CategoryEncoding Concatenate Conv2D Conv2DTranspose Cropping2D Dense DepthwiseConv2D Dot Dropout
    ELU Embedding Flatten GaussianDropout GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D
    GroupNormalization InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Minimum Multiply
    PReLU Permute ReLU RepeatVector Rescaling Reshape SeparableConv2D Softmax SpatialDropout2D
    SpectralNormalization Subtract UnitNormalization UpSampling2D ZeroPadding2D
"""
_OPERATIONS = "Abs Add Clip Divide Maximum Minimum Multiply Negative Subtract Tanh"
LISTED = {
    "keras": frozenset({"DTypePolicy", "Functional", "Sequential"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.layers": frozenset(_LAYERS.split()),
    "keras.src.ops.numpy": frozenset(_OPERATIONS.split()),
}
WHOLE = {  # modules whose classes are all allowed
    "keras.initializers": keras.initializers.Initializer,
    "keras.regularizers": keras.regularizers.Regularizer,
    "keras.constraints": keras.constraints.Constraint,
}


def check_objects(value: Any, where: str) -> None:
    """Checks that serialised Keras objects, at any depth, have allowed classes.

    Keras's layers for images, networks of them, initializers, regularizers and constraints are
    allowed, and so is everything that is registered under `zoo`.

    Args:
        value: Plain JSON.
        where: The place that the error names.

    Raises:
        ValueError: If an object has another class; the error names it.
    """
    stack = [(where, value)]
    while stack:
        where, value = stack.pop()
        if isinstance(value, dict):
            if "class_name" in value and not _is_allowed(value):
                msg = (
                    f"{where} has an object of {value.get('module')}.{value['class_name']} "
                    f"(registered as {value.get('registered_name')}), which is not allowed in a "
                    "preset: it might run code. Expected layers of Keras that only compute, or "
                    "layers of the zoo."
                )
                raise ValueError(msg)
            stack += [(f"{where}/{key}", each) for key, each in value.items()]
        elif isinstance(value, list):
            stack += [(f"{where}/{i}", each) for i, each in enumerate(value)]


def _is_allowed(value: dict[str, Any]) -> bool:
    module: Any = value.get("module")
    name = value["class_name"]
    registered = value.get("registered_name")
    if name == "__keras_tensor__":  # an input of a layer
        return True
    # Without a module, Keras takes the object for one of Keras 2, and ignores what is registered.
    if not all(isinstance(text, str) for text in (module, name)) or name.startswith("__"):
        return False
    if name == "function":  # whose name in the registry is its configuration
        return registered == name and _of_zoo(value.get("config")) is not None
    if registered not in (None, name):
        return getattr(_of_zoo(registered), "__name__", None) == name
    if module in WHOLE:
        cls = getattr(getattr(keras, module.removeprefix("keras.")), name, None)
        return isinstance(cls, type) and issubclass(cls, WHOLE[module])
    return name in LISTED.get(module, ())


def _of_zoo(registered: Any) -> Any:
    known = isinstance(registered, str) and registered.startswith("zoo>")
    return keras.saving.get_registered_object(registered) if known else None
