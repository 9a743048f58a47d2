"""Loading a checkpoint, and whether what is to be trained can be loaded at all.

Keras saves a class that it could not find again without a word. So a model that holds code of the
user's own is saved and loaded before its first step.
"""

from __future__ import annotations

import random
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from zoo.core import registry
from zoo.io.records import parse_json
from zoo.training import checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.core.model import ZooModel

# What Keras raises for a configuration that was damaged or edited, or that is the user's own.
FAULTS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError,
    ArithmeticError,
)  # fmt: skip
REGISTER = "@keras.saving.register_keras_serializable()"
LAMBDA = "a lambda"
KNOWN_PACKAGES = ("keras", "keras_hub", "keras_cv", "keras_nlp")  # that Keras imports by itself


class _Foreign(NamedTuple):
    """An object in a model's configuration that is neither Keras's nor the zoo's."""

    where: str  # such as "The generator's layer 'swish'"
    kind: str  # its class or function
    registered: bool  # whether this process knows it

    def __str__(self) -> str:
        """The object with its place."""
        return f"{self.where} ({self.kind})"


def load(path: Path, model_name: str, *, compiled: bool = True) -> ZooModel:
    """Loads a checkpoint: the model, compiled, with its optimizers' state.

    Args:
        path: A `.keras` file in a run folder.
        model_name: The model of the run.
        compiled: Whether to compile it as it was, on devices that can be other ones now.

    Raises:
        ValueError: If the file is damaged, of another model, or holds a class that this process
            does not know.
    """
    checkpoints.check(path, model_name)
    registry.import_models()
    try:
        return keras.models.load_model(path, compile=compiled)
    except FAULTS as error:
        with zipfile.ZipFile(path) as file:
            config = parse_json(file.read("config.json"), "config.json")
            unknown = [each for each in _foreign(config) if not each.registered]
        why = reason(error)
        if unknown and unknown[0].kind == LAMBDA:
            why = f"{unknown[0].where} holds a Python lambda, which Keras does not load"
        elif unknown:
            why = (
                f"{unknown[0]} is of your own code. Load it in Python: import the module that "
                "registers it, then zoo.load_run(folder)"
            )
        msg = f"{path} cannot be loaded: {why}."
        raise ValueError(msg) from error


def check_loadable(model: ZooModel) -> None:
    """Checks that a model can be loaded back from a checkpoint, by doing so.

    Nothing stays on the disk. Classes that are registered in this process only are no fault, but
    are warned of: the `zoo` command does not import them.

    Raises:
        ValueError: If it cannot, or comes back as another function; the layer is named.
    """
    if keras.saving.get_registered_name(type(model)) != f"zoo>{model.model_name}":
        msg = (
            f"{type(model).__name__} is a model of your own that goes by the name of "
            f"{model.model_name}: the run could be trained, and then not loaded. Decorate the "
            "class with @zoo.register_model and a name of its own."
        )
        raise ValueError(msg)
    try:
        foreign = list(_foreign(keras.saving.serialize_keras_object(model)))
    except FAULTS as error:
        msg = (
            f"The model could be trained, but not saved: {reason(error)}. Give the class a "
            f"get_config of all its arguments, and decorate it with {REGISTER}."
        )
        raise ValueError(msg) from error
    for each in foreign:
        if not each.registered:
            raise ValueError(_remedy(each))
    # Networks of the zoo alone are tested to load, and loading one takes as long as making it.
    if not foreign and not model._own_networks:
        return
    state = random.getstate()  # initializers draw from it: the user's next model is to be the same
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / checkpoints.LATEST
            model.save(file)
            checkpoints.check(file, model.model_name)
            loaded = keras.models.load_model(file)
    except OSError:  # the disk's fault, say
        raise
    except FAULTS as error:
        msg = (
            "The model could be trained, but not loaded from its checkpoints: "
            f"{reason(error)}. A layer of your own needs a get_config of all its arguments, and "
            "weights that __init__ or build makes."
        )
        raise ValueError(msg) from error
    finally:
        random.setstate(state)
    _check_same(model, loaded, foreign)
    if foreign:
        msg = (
            f"{', '.join(dict.fromkeys(map(str, foreign)))}: of your own code, which the zoo "
            "command does not import, so that it cannot load this run. Load it in Python: import "
            "what registers the class, then zoo.load_run(folder)."
        )
        warnings.warn(msg, stacklevel=2)


def _check_same(model: ZooModel, loaded: ZooModel, foreign: list[_Foreign]) -> None:
    before, after = ([v.numpy() for v in each.state_variables] for each in (model, loaded))
    same = len(before) == len(after) and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True)
    )
    if same and foreign:
        drawn, again, reloaded = (x.generate(2, seed=0) for x in (model, model, loaded))
        # A network that draws noise of its own has no images to compare.
        same = not np.array_equal(drawn, again) or np.allclose(drawn, reloaded, atol=1e-4)
    if not same:
        culprits = "; ".join(dict.fromkeys(map(str, foreign))) or "a network of your own"
        msg = (
            f"The model comes back from its checkpoint as another one ({culprits}): "
            "get_config must give all arguments of the constructor, and all state be Keras weights."
        )
        raise ValueError(msg)


def _remedy(foreign: _Foreign) -> str:
    if foreign.kind == LAMBDA:
        return (
            f"{foreign.where} holds a Python lambda, which Keras saves but does not load: the run "
            "could be trained, and then not used. Write it with keras.ops, or as a layer with a "
            f"class of its own, decorated with {REGISTER}."
        )
    return (
        f"{foreign} is not registered with Keras: the run could be trained, and then not loaded. "
        f"Decorate it with {REGISTER}; a class needs a get_config of all its arguments too."
    )


def reason(error: BaseException) -> str:
    """What an error of Keras says, without the configurations that it prints."""
    text = str(error).rpartition("Exception encountered: ")[2].strip()
    first = " ".join(text.partition("\n\n")[0].partition("Full object config")[0].split())
    return first[:300].rstrip(".")


def _foreign(value: Any, role: str = "", name: str | None = None) -> Iterator[_Foreign]:
    """The foreign objects of a serialised model, in their order.

    Args:
        value: The configuration, or a part of it.
        role: The argument of the model that the part belongs to, such as "generator".
        name: The layer in it; "" for the network itself, None for the model and what it begins.
    """
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _foreign(each, role, name)
    if not isinstance(value, dict):
        return
    if "class_name" in value:
        config = value.get("config")
        own = value.get("name") or (config.get("name") if isinstance(config, dict) else None)
        name = "" if name is None else own or name
    place = f"The {role or 'model'}" + (f"'s layer {name!r}" if name else "")
    if kind := _kind(value):
        yield _Foreign(place, *kind)
    for key, each in value.items():
        made = isinstance(each, dict) and "class_name" in each
        if key == "activation" and isinstance(each, dict) and not made:
            # Keras keeps only the code of a lambda there.
            yield _Foreign(place, LAMBDA, registered=False)
        elif made and not role:
            yield from _foreign(each, key)
        else:
            yield from _foreign(each, role, name)


def _kind(value: dict[str, Any]) -> tuple[str, bool] | None:
    """(class or function, whether registered) of a foreign object; None of another."""
    name, module, registered = (value.get(x) for x in ("class_name", "module", "registered_name"))
    if name == "__lambda__":
        return LAMBDA, False
    if name == "function":
        name = registered = value["config"]
        known = keras.saving.get_registered_object(registered)
        ours = known is None and _is_built_in(value)
    else:
        known = keras.saving.get_registered_object(registered)
        # Names with underscores are of tensors, slices and the like.
        ours = str(module).partition(".")[0] in KNOWN_PACKAGES or str(name or "__")[:2] == "__"
    ours = ours or (known is not None and known.__module__.partition(".")[0] == "zoo")
    return None if ours else (str(name), known is not None)


def _is_built_in(value: dict[str, Any]) -> bool:
    try:
        keras.saving.deserialize_keras_object(value)
    except FAULTS:
        return False
    return True
