"""Settings of `zoo train` out of a file (`--config`) and as one (`--print-config`).

The keys are the options of the command, whichever it has, with _ for -. An option that can be given
more than once is a list of texts, or a table of `name = value`.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002 (Typer reads the annotations)

from zoo.core.registry import KINDS
from zoo.io import schemas
from zoo.io.names import suggestion
from zoo.io.records import read_json
from zoo.io.terminal import errors, say

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_SETTINGS = ("config", "print_config", "resume")  # they say what to do with settings
LENGTHS = ("epochs", "steps", "images")  # of which one counts
NETWORKS = ("latent_dim", "network", "channels")  # what the source of --from has decided
OF_SOURCE = (*NETWORKS, "precision")  # and what it decides, if nothing is given
# What a run's config.json calls otherwise; for runs without an entry `command`.
OF_RUN = {"jit_compile": "jit", "metrics": "metric"}
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def from_file(context: typer.Context, file: Path | None) -> Path | None:
    """Makes the settings of a file the defaults of a command: what `--config` does."""
    if file is not None and not context.resilient_parsing:
        context.default_map = checked(context, settings_in(file, context), file)
    return file


def joined(
    context: typer.Context, param: typer.CallbackParam, value: list[str] | None
) -> list[str] | None:
    """The pairs `name=value` of the command line, and those of the file with other names."""
    if value is None or _source(context, param.name or "") != "COMMANDLINE":
        return value
    of_file = (context.default_map or {}).get(param.name or "") or []
    given = {pair.partition("=")[0] for pair in value}
    return [*(pair for pair in of_file if pair.partition("=")[0] not in given), *value]


def settings_in(file: Path, context: typer.Context) -> dict[str, Any]:
    """What a TOML file, or the config.json of a run, says.

    Raises:
        FileNotFoundError, IsADirectoryError: If it is no file.
        ValueError: If it is damaged or of another kind.
    """
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder. Give a file, as {file / 'config.json'}.")
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist. Give a TOML file, or a run's config.json.")
    if file.suffix == ".json":
        return _settings_of_run(file, parameters(context))
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no valid TOML ({error}).") from error


def parameters(context: typer.Context) -> dict[str, Any]:
    """The parameters of a context's command that are settings, by key."""
    return parameters_of(context.command)


def parameters_of(command: Any) -> dict[str, Any]:
    """The same, of a command."""
    named = {each.opts[0].lstrip("-").replace("-", "_"): each for each in command.params}
    return {key: each for key, each in named.items() if each.name not in (*NO_SETTINGS, "help")}


def checked(context: typer.Context, settings: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The settings by the names of the command's parameters, as its parser takes them.

    Raises:
        ValueError: If the command has no such option, or a value is none of its values; the file
            and the key are named.
    """
    known = parameters(context)
    hints = typing.get_type_hints(inspect.unwrap(context.command.callback))  # type: ignore[arg-type]
    values = {}
    for key, given in settings.items():
        where = f"{file}: {key}"
        if key == "grid":
            raise ValueError(f"{where}: a grid is for `zoo sweep {file}`.")
        if key not in known:
            near = suggestion(key, sorted(known))
            raise ValueError(
                f"{where} is no option of the command. {near} Those of the model are in [option]."
            )
        kinds = [kind for kind in _kinds(hints[known[key].name]) if kind is not type(None)]
        value = texts(given, where) if list in kinds else _scalar(given, kinds, where)
        _check_by_parser(context, known[key], value, where)
        values[known[key].name] = value
    return values


def _kinds(hint: Any) -> list[type]:
    """The classes of a type hint, such as int and NoneType for `int | None`."""
    parts = typing.get_args(hint) if typing.get_origin(hint) is not list else (hint,)
    return [typing.get_origin(part) or part for part in parts or (hint,)]


def _scalar(value: Any, kinds: Sequence[type], where: str) -> Any:
    names = ["str" if kind is Path else kind.__name__ for kind in kinds]
    if any(KINDS[name][0](value) for name in names):
        return value
    words = " or ".join(KINDS[name][1] for name in names)
    swept = " Lists of values go into [grid], for `zoo sweep`." if isinstance(value, list) else ""
    raise ValueError(f"{where} = {_shown(value)}: expected {words}.{swept}")


def texts(value: Any, where: str) -> list[str]:
    """The texts that an option is given: of a list of them, or of a table as `name=value`.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, dict):
        return [f"{name}={_text(each, f'{where}.{name}')}" for name, each in value.items()]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise ValueError(f"{where} = {_shown(value)}: expected a list of texts, or a table.")


def _text(value: Any, where: str) -> str:
    """A value of a table as the command line has it: JSON, or plain text that is no JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return value
    try:
        return json.dumps(value)
    except TypeError as error:  # a date
        raise ValueError(
            f"{where} = {value}: expected a number, a text, true or false, or a list of them."
        ) from error


def _check_by_parser(context: typer.Context, parameter: Any, value: Any, where: str) -> None:
    """Checks a value as the command line's parser would, which names no file."""
    try:
        parameter.process_value(context, value)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise ValueError(f"{where} = {_shown(value)}: {error.message}.") from error  # type: ignore[attr-defined]


def _settings_of_run(file: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run: those that `zoo train` noted, as far as they still hold."""
    config = read_json(file, schemas.RUN)
    if "converted_from" in config:
        raise ValueError(
            f"{file} is of a run that `zoo convert` made from {config['converted_from']}; no new "
            f"run has its weights. Go on with it: zoo train {file.parent}."
        )
    settings = config.get("command") or _settings_by_name(file, config, known)
    settings = {key: value for key, value in settings.items() if key not in LENGTHS}
    length = "steps" if config.get("steps") else "epochs"
    now = {name: config.get(name) for name in (length, "data", "patience")}
    return settings | {name: value for name, value in now.items() if value}


def _settings_by_name(
    file: Path, config: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a run of Python, or of an earlier version."""
    from zoo.training.run_files import read_options

    say(
        f"{file} was not written by `zoo train`, or by an earlier version. Optimizers, learning "
        "rates and clipping are not in it: give those that are not the model's own.",
        errors,
    )
    named = {OF_RUN.get(key, key): value for key, value in config.items()}
    others = ("out", "strategy", "replicas", "recipe")  # of the place, and of converted models
    settings = {k: v for k, v in named.items() if k in known and k not in others and v is not None}
    height, width, channels = config["image_shape"]
    settings |= {"channels": channels} | ({"image_size": height} if height == width else {})
    if config.get("decay_steps") and "schedule" not in config:
        settings["schedule"] = "linear"
    options = read_options(file.parent)
    own = [name for name, value in options.items() if isinstance(value, dict)]
    if own:
        raise ValueError(f"{file}: the run's {own[0]} is a network of its own, which no option is.")
    return settings | {"option": [f"{k}={json.dumps(v)}" for k, v in options.items()]}


def length_of(context: typer.Context) -> dict[str, int | None]:
    """Epochs, steps and images, of which one is not None.

    Raises:
        ValueError: If several are given.
    """
    for source in ("COMMANDLINE", "DEFAULT_MAP", "DEFAULT"):  # the file's make way
        given = {
            name: context.params[name]
            for name in LENGTHS
            if context.params[name] is not None and _source(context, name) == source
        }
        if len(given) > 1:
            what = " and ".join(f"--{name} {value}" for name, value in given.items())
            raise ValueError(f"{what}: training has one end. Give one of them.")
        if given:
            break
    return dict.fromkeys(LENGTHS) | given


def _source(context: typer.Context, name: str) -> str:
    """Where a parameter has its value from: COMMANDLINE, DEFAULT_MAP (a file) or DEFAULT."""
    return getattr(context.get_parameter_source(name), "name", "")


def is_in_file(context: typer.Context, name: str) -> bool:
    """Whether a parameter has its value from the file of `--config`."""
    return _source(context, name) == "DEFAULT_MAP"


def given_options(context: typer.Context) -> dict[str, Any]:
    """The parameters that stand on the command line, or in its file."""
    return {
        name: value
        for name, value in context.params.items()
        if _source(context, name) in ("COMMANDLINE", "DEFAULT_MAP")
    }


def settings_of(context: typer.Context, but: Sequence[str] = ()) -> dict[str, Any]:
    """All settings that a command was called with but some, by key, as JSON has them.

    Those that are None are left out.
    """
    values = {**context.params, **length_of(context)}
    shown = {
        key: values[each.name]
        for key, each in parameters(context).items()
        if not each.hidden or values[each.name]  # a former name is there only if it was given
    }
    if context.params.get("source") is not None:
        but = (*but, *(name for name in OF_SOURCE if name not in given_options(context)))
    plain = {key: _plain(value) for key, value in shown.items()}
    there = {key: value for key, value in plain.items() if value is not None and value != []}
    return {key: value for key, value in there.items() if key not in but}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def to_toml(settings: Mapping[str, Any]) -> str:
    """Settings as TOML, tables last."""
    lists = {key: value for key, value in settings.items() if isinstance(value, list)}
    tables = {key: table for key, value in lists.items() if (table := _table(value)) is not None}
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items() if key not in tables]
    for key, table in tables.items():
        lines += ["", f"[{key}]", *(f"{_key(name)} = {_toml(v)}" for name, v in table.items())]
    return "\n".join(lines)


def _table(pairs: Sequence[str]) -> dict[str, Any] | None:
    """The table that stands for some texts; None if none gives back just these."""
    if not all("=" in pair for pair in pairs):
        return None
    table: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            table[name] = json.loads(text)
        except (ValueError, RecursionError):
            table[name] = text
    try:
        _toml(table)
    except TypeError:
        return None
    return table if texts(table, "") == list(pairs) else None


def _toml(value: Any) -> str:
    """A value of TOML, which has no null: TypeError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):  # JSON's escapes are TOML's, but for one character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        entries = ", ".join(f"{_key(name)} = {_toml(each)}" for name, each in value.items())
        return f"{{ {entries} }}" if entries else "{}"
    raise TypeError(f"{value!r} has no form in TOML.")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)


def _shown(value: Any) -> str:
    """A value as an error shows it."""
    try:
        return _toml(value)
    except TypeError:  # a date
        return str(value)
