"""Names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are elsewhere until they are used.

    Args:
        package: Its `__name__`.
        homes: By name, the module that defines it. For a module itself, the module's own name.

    Example:
        >>> from zoo.io.lazy import lazy
        >>> lazy("geometry", {"sqrt": "math"})("sqrt")(9.0)
        3.0
    """

    def attribute(name: str) -> Any:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        module = import_module(homes[name])
        return module if homes[name] == f"{package}.{name}" else getattr(module, name)

    return attribute
