"""A network as a graph of blocks: what the conversion rules rewrite.

A block is one call of one layer: its class, its configuration, whom it takes from, and its weights
as float64 arrays, so that a chain of rules rounds only once, when the network is built. Each array
carries its origin, from which the report is made. Networks and blocks are values: a rule returns a
new network and leaves the old one as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import layers, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LINEAR = (layers.Dense, layers.Conv2D, layers.Conv2DTranspose)


@dataclass(frozen=True)
class Origin:
    """Where an array came from: paths in the network that was read, and the rules applied since."""

    sources: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    def through(self, rule: str, *others: Origin) -> Origin:
        """The origin after `rule` has changed the array, with the help of other arrays."""
        every = (self, *others)
        sources = dict.fromkeys(source for origin in every for source in origin.sources)
        rules = dict.fromkeys(name for origin in every for name in origin.rules)
        return Origin(tuple(sources), (*rules, rule) if rule not in rules else tuple(rules))


@dataclass(frozen=True)
class Ref:
    """Output `index` of the block named `block`."""

    block: str
    index: int = 0


@dataclass(frozen=True)
class Block:
    """One call of one layer.

    Attributes:
        name: Unique in the network.
        layer: The layer's class; or a stateless operation of `keras.ops`, then called as it is.
        config: `get_config()` of the layer, without its name.
        args: Positional arguments of the call: `Ref`s, or structures and constants that hold them.
        kwargs: Keyword arguments, likewise.
        shape: Shape of one example of the (first) output.
        arrays: float64 weights by name (`kernel`, `bias`, `gamma`, …), in the layer's order.
        origins: Where each array came from, by the same names.
        shares: Name of the block whose layer, and so whose weights, this call uses again.
    """

    name: str
    layer: Any
    config: Mapping[str, Any] = field(default_factory=dict)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[Any, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    shares: str | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the blocks it takes from, in order."""
        return tuple(ref.block for ref in refs((self.args, self.kwargs)))

    @property
    def kind(self) -> str:
        """Name of the layer's class, or of the operation."""
        return str(getattr(self.layer, "__name__", type(self.layer).__name__))

    @property
    def is_linear(self) -> bool:
        """Whether it is a Dense, Conv2D or Conv2DTranspose layer (no subclass)."""
        return self.layer in LINEAR

    @property
    def activation(self) -> str:
        """Name of the activation function within the layer; "linear" without one."""
        name = self.config.get("activation") or "linear"
        return name if isinstance(name, str) else str(name.get("config", name))

    def with_config(self, **changes: Any) -> Block:
        """A block with other entries in its config."""
        return replace(self, config={**self.config, **changes})

    def with_arrays(self, arrays: Mapping[str, np.ndarray], rule: str, *others: Block) -> Block:
        """A block with these arrays, made by `rule` from its own and the arrays of `others`.

        An array given as it was keeps its origin; one that is new takes the origins of `others`,
        or without them of all of this block's.
        """
        helpers = [origin for other in others for origin in other.origins.values()]
        own = tuple(self.origins.values())

        def origin_of(name: str, value: np.ndarray) -> Origin:
            if name not in self.origins:
                return Origin().through(rule, *(helpers or own))
            if value is self.arrays[name]:
                return self.origins[name]
            return self.origins[name].through(rule, *helpers)

        origins = {name: origin_of(name, value) for name, value in arrays.items()}
        values = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
        return replace(self, arrays=values, origins=origins)


@dataclass(frozen=True)
class Network:
    """Blocks in topological order, inputs first.

    Attributes:
        name: Name of the Keras model to build.
        blocks: By name.
        outputs: What the network returns.
        notes: What rules want said in the report.
    """

    name: str
    blocks: Mapping[str, Block]
    outputs: tuple[Ref, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks.values())

    def __getitem__(self, name: str) -> Block:
        return self.blocks[name]

    @property
    def inputs(self) -> tuple[Block, ...]:
        """The input blocks."""
        return tuple(block for block in self if block.layer is layers.InputLayer)

    def consumers(self, name: str) -> list[str]:
        """Names of the blocks that take from `name`, once per use; "" for the network's output."""
        children = [block.name for block in self for parent in block.parents if parent == name]
        return children + ["" for ref in self.outputs if ref.block == name]

    def is_shared(self, name: str) -> bool:
        """Whether the block's layer is called more than once."""
        return self[name].shares is not None or any(block.shares == name for block in self)

    def is_private(self, name: str) -> bool:
        """Whether the block's layer is called only once and its output used only once."""
        return not self.is_shared(name) and len(self.consumers(name)) == 1

    def only_parent(self, name: str) -> Block | None:
        """The block that alone feeds `name` and feeds nothing else, if there is one."""
        parents = self[name].parents
        if len(parents) != 1 or not self.is_private(parents[0]):
            return None
        return self[parents[0]]

    def only_child(self, name: str) -> Block | None:
        """The block that alone takes from `name`, and takes from nothing else, if there is one."""
        consumers = self.consumers(name)
        if len(consumers) != 1 or not consumers[0] or not self.is_private(name):
            return None
        child = self[consumers[0]]
        return child if len(child.parents) == 1 else None

    def replaced(self, *blocks: Block) -> Network:
        """Puts blocks in the place of those of the same names."""
        new = {block.name: block for block in blocks}
        return replace(self, blocks={name: new.get(name, b) for name, b in self.blocks.items()})

    def without(self, *names: str) -> Network:
        """Leaves out blocks of one input: what they take goes on in their place."""
        network = self
        for name in names:
            (source,) = refs((network[name].args, network[name].kwargs))
            network = network._rewired(Ref(name), source)
            network = replace(
                network, blocks={k: b for k, b in network.blocks.items() if k != name}
            )
        return network

    def inserted(self, block: Block, *, after: str) -> Network:
        """Puts a block behind another: all that took from `after` takes from it instead."""
        block = replace(block, name=self.free_name(block.name), args=(Ref(after),))
        network = self._rewired(Ref(after), Ref(block.name))
        blocks: dict[str, Block] = {}
        for name, old in network.blocks.items():
            blocks[name] = old
            if name == after:
                blocks[block.name] = block
        return replace(network, blocks=blocks)

    def inserted_before(self, block: Block, before: str) -> Network:
        """Puts a block between another, of one input, and what that takes."""
        old = self[before]
        (source,) = refs((old.args, old.kwargs))
        block = replace(block, name=self.free_name(block.name), args=(source,))
        args, kwargs = map_refs(lambda _: Ref(block.name), (old.args, old.kwargs))
        new = replace(old, args=args, kwargs=kwargs)
        blocks: dict[str, Block] = {}
        for name, other in self.blocks.items():
            blocks |= {block.name: block, name: new} if name == before else {name: other}
        return replace(self, blocks=blocks)

    def upto(self, *names: str) -> Network:
        """The part that computes the outputs of these blocks, with all the inputs."""
        needed = set(names)
        for block in reversed(list(self)):
            if block.name in needed:
                needed |= {*block.parents, *([block.shares] if block.shares else [])}
        needed |= {block.name for block in self.inputs}
        blocks = {name: block for name, block in self.blocks.items() if name in needed}
        return replace(self, blocks=blocks, outputs=tuple(Ref(name) for name in names))

    def free_name(self, wanted: str) -> str:
        """`wanted`, or if a block has that name already, `wanted_1` and so on."""
        return free_name(wanted, self.blocks)

    def noted(self, note: str) -> Network:
        """The network with one more note for the report."""
        return replace(self, notes=(*self.notes, note))

    def _rewired(self, old: Ref, new: Ref) -> Network:
        def other(ref: Ref) -> Ref:
            return new if ref == old else ref

        blocks = {
            name: replace(
                block, args=map_refs(other, block.args), kwargs=map_refs(other, block.kwargs)
            )
            for name, block in self.blocks.items()
        }
        return replace(self, blocks=blocks, outputs=tuple(other(ref) for ref in self.outputs))


def refs(structure: Any) -> list[Ref]:
    """The `Ref`s in a structure, in order."""
    return [item for item in tree.flatten(structure) if isinstance(item, Ref)]


def map_refs(function: Callable[[Ref], Any], structure: Any) -> Any:
    """The structure with each `Ref` mapped by a function."""
    return tree.map_structure(lambda x: function(x) if isinstance(x, Ref) else x, structure)


def free_name(wanted: str, taken: Mapping[str, Any]) -> str:
    """`wanted`, or `wanted_1` and so on where that is taken."""
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name
