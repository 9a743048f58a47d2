"""The checks of what a subclass declares, so that none of it is ignored without a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Collection

# Names of hooks in earlier versions, and what they are called now. Nothing would call an override.
RENAMED = {
    "draws": "batch_noise",
    "drawing": "noise_source",
    "completed": "extend_batch",
    "of_batch": "batch_logs",
    "track": "update_averages",
    "share": "replica_loss",
    "update_each": "minimize",
    "plain": "single_decoder",
    "fixed": "fixed_options",
    "gaussian_posterior": "has_elbo and has_latent_code",
    "_play": "_player_losses",
}
OF_FAMILY = {
    "vae": {"regularizer": "regularization_terms"},
    "gan": {"regularizer": "gradient_penalty"},
}

FORM = 'such as {"optimizer": Player("loss", ("encoder", "decoder"))}'


def check_hooks(cls: type) -> None:
    """Raises TypeError if a class overrides a hook by the name of an earlier version."""
    family = OF_FAMILY.get(getattr(cls, "family", ""), {})
    for old, new in {**RENAMED, **family}.items():
        if any(old in vars(base) for base in cls.__mro__):
            msg = (
                f"{cls.__name__}.{old}: this hook is called {new} now, and nothing would call "
                f"{old}. Override {new}, or give what is yours alone another name."
            )
            raise TypeError(msg)


def check_players(model: Any) -> None:
    """Checks the players that a model declares, before its optimizers are made.

    Raises:
        ValueError: If there are none, one is no `Player`, an optimizer's name does not end in
            "optimizer", a network is no network of the model, or several players take what is left.
    """
    name, players = type(model).__name__, getattr(model, "players", None)
    if not isinstance(players, Mapping) or not players:
        msg = f"{name}.players={players!r}: expected a player for each optimizer, {FORM}."
        raise ValueError(msg)
    for optimizer, player in players.items():
        fault = _fault_of_player(model, optimizer, player)
        if fault:
            msg = f"{name}.players[{optimizer!r}]={player!r}: {fault}, {FORM}."
            raise ValueError(msg)
    if not model.log_names:
        msg = f"{name}.log_names=(): expected at least one of the losses, such as ('loss',)."
        raise ValueError(msg)
    rest = [optimizer for optimizer, player in players.items() if not player.networks]
    if len(rest) > 1:
        msg = (
            f"{name}.players: {' and '.join(rest)} name no networks, so that each would take all "
            "that is left. Name the networks of all but one."
        )
        raise ValueError(msg)
    check_names(f"{name}.optimizer_names", model.optimizer_names, "players", players)


def _fault_of_player(model: Any, optimizer: str, player: Any) -> str:
    """What is wrong with a player; nothing if it is right."""
    networks = getattr(player, "networks", None)
    if not isinstance(networks, (tuple, list)):
        return "expected a Player with a tuple of networks"
    for network in networks:
        if not isinstance(getattr(model, network, None), keras.layers.Layer):
            return f"the model has no network {network!r}; expected names of its attributes"
    if not optimizer.endswith("optimizer"):
        return "expected a name that ends in 'optimizer'"
    return ""


def check_names(where: str, names: Collection[str], what: str, known: Collection[str]) -> None:
    """Raises ValueError if one of the names is not known."""
    missing = [name for name in names if name not in known]
    if missing:
        msg = (
            f"{where} has {', '.join(map(repr, missing))}, but the {what} are "
            f"{', '.join(known) or 'none'}. Add it to them, or mend the name."
        )
        raise ValueError(msg)
