"""Model names. One file in `zoo/vae/` or `zoo/gan/` is one model, which has the file's name.

Nothing here imports a model, Keras or TensorFlow until a model is created, so that `zoo list`
answers at once.
"""

from __future__ import annotations

import inspect
import numbers
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.util import find_spec, spec_from_loader
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.core import model_files
from zoo.core.environment import check_backend
from zoo.core.model_files import FAMILIES, Option
from zoo.io.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from zoo.core.model import ZooModel

Model = TypeVar("Model", bound=type)
BELOW_MODELS = ("zoo.core.", "zoo.layers")  # modules that the models import, and that import Keras
# By the annotation of an option: which values it admits, and what an error calls them. `create`
# does not check options with other annotations.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "int": (lambda x: _is_number(x, numbers.Integral, 2**63 - 1), "a whole number of 64 bits"),
    "float": (lambda x: _is_number(x, numbers.Real, sys.float_info.max), "a finite number"),
    "Sequence[float]": (
        lambda x: isinstance(x, (list, tuple)) and all(KINDS["float"][0](each) for each in x),
        "a list of finite numbers",
    ),
    "Sequence[int]": (
        lambda x: isinstance(x, (list, tuple)) and all(KINDS["int"][0](each) for each in x),
        "a list of whole numbers",
    ),
    "bool": (lambda x: isinstance(x, bool), "true or false"),
    "str": (lambda x: isinstance(x, str), "text"),
    "None": (lambda x: x is None, "None (null)"),
}

_classes: dict[str, Any] = {}


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without an import of its file."""

    name: str
    family: str
    summary: str  # first line of the file's docstring: what the model is, and its paper


def list_models(family: str | None = None) -> list[str]:
    """Lists the names that `create` knows, VAEs before GANs.

    Args:
        family: `"vae"` or `"gan"`; None for both.

    Raises:
        ValueError: If there is no such family.

    Example:
        >>> import zoo
        >>> zoo.list_models("gan")[:3]
        ['acgan', 'bigan', 'biggan']
    """
    return [model.name for model in describe_models(family)]


def describe_models(family: str | None = None) -> list[ModelInfo]:
    """Describes each registered model: name, family and summary, sorted by family and name.

    Args:
        family: `"vae"` or `"gan"`; None for both.

    Raises:
        ValueError: If there is no such family.

    Example:
        >>> from zoo.core.registry import describe_models
        >>> describe_models("vae")[-1].name
        'wae_mmd'
    """
    if family is not None and family not in FAMILIES:
        msg = f"family={family!r}: expected one of {FAMILIES} or None."
        raise ValueError(msg)
    built_in = {
        file.name: ModelInfo(file.name, file.family, model_files.summary(file.path))
        for file in model_files.model_files()
    }
    added = {
        name: ModelInfo(name, cls.family, (cls.__doc__ or "").partition("\n")[0])
        for name, cls in _classes.items()
        if name not in built_in
    }
    models = [*built_in.values(), *added.values()]
    chosen = [model for model in models if family in (None, model.family)]
    return sorted(chosen, key=lambda model: (FAMILIES.index(model.family), model.name))


def register_model(name: str) -> Callable[[Model], Model]:
    """Makes a decorated class known to `create` and to `keras.models.load_model`.

    Args:
        name: For a model of the zoo the name of its file; for a model of yours any free name.

    Raises:
        ValueError: If another class already has the name.

    Example:
        >>> import zoo
        >>> @zoo.register_model("my_vae")
        ... class MyVAE(zoo.vae.VAE):
        ...     pass
        >>> zoo.create("my_vae", (8, 8, 1), 2, network="mlp").generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    def register(cls: Model) -> Model:
        import keras  # noqa: PLC0415  (registry must import without Keras)

        known = _classes.get(name)
        if known is not None and known.__qualname__ != cls.__qualname__:
            msg = f"Model name {name!r} is taken by {known.__module__}.{known.__qualname__}."
            raise ValueError(msg)
        cls.model_name = name  # type: ignore[attr-defined]
        _classes[name] = keras.saving.register_keras_serializable("zoo", name)(cls)
        return cls

    return register


def create(name: str, image_shape: Sequence[int], latent_dim: int, **options: Any) -> ZooModel:
    """Builds an untrained model.

    Args:
        name: One of `list_models()`.
        image_shape: (height, width, channels) of the images, which are float32 in [0, 1].
        latent_dim: Number of latent dimensions.
        **options: The model's own keyword arguments: see the class, such as `zoo.vae.BetaVAE`, or
            `zoo info MODEL`.

    Returns:
        A `zoo.core.model.ZooModel`, which is a `keras.Model`. It is ready to `compile()` and `fit`.

    Raises:
        ValueError: If the name is unknown, the model has no such option (the nearest names are
            suggested), or an argument has another type or is out of its range.

    Example:
        >>> import zoo
        >>> model = zoo.create("dcgan", (8, 8, 1), latent_dim=2, network="mlp")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """
    check_options(name, {"latent_dim": latent_dim, **options})
    sizes = tuple(image_shape) if hasattr(image_shape, "__iter__") else (None,)
    if not all(KINDS["int"][0](size) for size in sizes):
        msg = f"image_shape={image_shape!r}: expected (height, width, channels), all whole numbers."
        raise ValueError(msg)
    return _classes[name](image_shape=sizes, latent_dim=latent_dim, **options)


def check_name(name: str) -> None:
    """Raises ValueError if no model has the name. The error suggests the nearest names."""
    if not isinstance(name, str):
        msg = f"The name of a model is {name!r}; expected text, such as 'vae'."
        raise ValueError(msg)  # noqa: TRY004
    _import(name)
    if name not in _classes:
        raise ValueError(_unknown(name))


def check_known(cls: type, options: Collection[str]) -> None:
    """Raises ValueError if a class has no such option; the nearest are suggested."""
    known = accepted(cls)
    for option in options:
        if option not in known:
            near = suggestion(option, sorted(known))
            msg = f"{cls.__name__} has no option {option!r}. {near}"
            raise ValueError(msg)


def _unknown(name: str) -> str:
    return f"Unknown model {name!r}. {suggestion(name, list_models())} `zoo list` describes all."


def check_options(name: str, options: dict[str, Any]) -> None:
    """Checks options against the names and annotations of the constructor.

    Args:
        name: One of `list_models()`.
        options: Keyword arguments for `create`.

    Raises:
        ValueError: If the model or an option is unknown, or a value does not have the type of the
            annotation. A whole number passes as a float; a bool does not pass as a number.
    """
    check_name(name)
    known = accepted(_classes[name])
    for option, value in options.items():
        if option not in known:
            near = suggestion(option, sorted(known))
            msg = f"{option}={value!r}: {name} has no option {option!r}. {near}"
            raise ValueError(msg)
        kinds = known[option].split(" | ")
        if not set(kinds) <= KINDS.keys():
            continue
        if not any(KINDS[kind][0](value) for kind in kinds):
            words = " or ".join(KINDS[kind][1] for kind in kinds)
            msg = f"{option}={value!r}: expected {words}."
            raise ValueError(msg)


def accepted(cls: type) -> dict[str, str]:
    """Options of a model and of its bases, with annotations as text, such as "int | None"."""
    import keras  # noqa: PLC0415  (registry must import without Keras)

    annotations = {"name": "str | None", "dtype": ""}
    for base in cls.__mro__[: cls.__mro__.index(keras.Model)]:
        parameters = inspect.signature(vars(base).get("__init__", object)).parameters
        for each in parameters.values():
            if each.name != "self" and each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD):
                text = each.annotation
                text = text if isinstance(text, str) else inspect.formatannotation(text)
                annotations.setdefault(each.name, text)
    return annotations


def _is_number(value: Any, kind: Any, largest: float) -> bool:
    """Whether a value is a finite number of a kind, and no bool."""
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    value = value.item() if hasattr(value, "item") else value  # NumPy compares in its own type
    return -largest <= value <= largest


def describe_options(name: str) -> list[Option]:
    """The options of a model; a model of the zoo is not imported for it.

    Args:
        name: One of `list_models()`.

    Returns:
        (name, default, meaning) of each argument that `create` takes for the model, its own before
        those of its bases. A default is Python text; None: the argument must be given.

    Raises:
        ValueError: If the model is unknown; the nearest names are suggested.

    Example:
        >>> from zoo.core.registry import describe_options
        >>> next(option for option in describe_options("wgan_gp") if option.name == "n_critic")[:2]
        ('n_critic', '5')
    """
    file = next((file for file in model_files.model_files() if file.name == name), None)
    if file is not None:
        return model_files.options(model_files.levels_of_file(file))
    if name in _classes:
        return model_files.options(model_files.levels_of_class(_classes[name]))
    raise ValueError(_unknown(name))


def is_conditional(name: str) -> bool:
    """Whether a model needs `num_classes`. It imports the model; False for an unknown name."""
    _import(name)
    return bool(getattr(_classes.get(name), "conditional", False))


def _import(name: str) -> None:
    """Imports a model of the zoo, unless its class is known already."""
    if name in _classes:
        return
    for file in model_files.model_files():
        if file.name == name:
            import_module(f"zoo.{file.family}.{name}")


def import_models() -> None:
    """Imports every model and every layer, so that `keras.models.load_model` knows the classes.

    The layers are needed because a converted model may have any network.
    """
    import_module("zoo.layers")
    for file in model_files.model_files():
        import_module(f"zoo.{file.family}.{file.name}")


class _Imported(Loader):
    """Loads a module that the models have imported."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002  (the protocol's)
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class _ImportModelsAfterKeras(MetaPathFinder):
    """Imports the models right after Keras.

    `import zoo` does not import Keras. Yet after `import zoo, keras`, in either order,
    `keras.models.load_model` must know the classes of the zoo. A module that the models import must
    not import Keras itself: they would find it half imported. So Keras is imported before it.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  (the finder protocol's signature)
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname.startswith(BELOW_MODELS):
            import_module("keras")
            module = sys.modules.get(fullname)
            if module is None:
                return None
            # Python would take the module's own, and run the module once more.
            module.__spec__ = spec_from_loader(fullname, _Imported(module))
            return module.__spec__
        if fullname != "keras":
            return None
        check_backend()
        sys.meta_path.remove(self)
        spec = find_spec("keras")
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_import(module: ModuleType) -> None:
                execute(module)
                import_models()

            spec.loader.exec_module = execute_and_import  # type: ignore[method-assign]
        return spec


def import_models_with_keras() -> None:
    """Registers the models when Keras is imported, now or later.

    Raises:
        ImportError: If Keras was imported with another backend than TensorFlow. If it is imported
            later with another backend, that import raises the error.
    """
    if "keras" in sys.modules:
        check_backend()
        import_models()
    else:
        sys.meta_path.insert(0, _ImportModelsAfterKeras())
