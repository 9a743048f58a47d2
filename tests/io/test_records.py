"""JSON of a known kind: what is no JSON is named, and what is written is read back."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.json_files import EXAMPLES, at, changed, strict_json
from zoo.io import records, schemas
from zoo.io.records import parse_json, read_json, to_json, write_json

ROOT = Path(__file__).parents[2]
KINDS = {name: kind for name, kind in vars(schemas).items() if isinstance(kind, schemas.Kind)}


@pytest.mark.parametrize("kind", [None, *KINDS.values()], ids=["any", *KINDS])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON .*utf-8"),
        (b"[" * 5000 + b"]" * 5000, "more than 200 levels deep"),
        (b"[" * 500 + b"]" * 500, "more than 200 levels deep"),
        (b'{"a": ' * 5000 + b"1" + b"}" * 5000, "more than 200 levels deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a whole number of 5000 digits"),
        (b'{"a": [1, 36893488147419103232]}', "a/1 is a whole number beyond 64 bits"),
        (b'{"a": "\\ud800"}', "half of a character"),
        (b'{"not_finite": 1}', "not_finite names no null of the file"),
        (b'{"a": 1, "not_finite": {"/a": "inf"}}', "not_finite names no null of the file"),
        (b'{"a": null, "not_finite": {"/a": "1"}}', "not_finite names no null of the file"),
    ],
    ids=range(12),
)
def test_what_is_no_json(content: bytes, message: str, kind: Any, tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    place.write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.json.*{message}"):
        read_json(place, kind)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_JSON_BYTES", 10)
    (tmp_path / "x.json").write_text("[" + " " * 10 + "]")
    with pytest.raises(ValueError, match=r"x\.json has more than 0 MB"):
        read_json(tmp_path / "x.json")


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of all entries, at every depth."""
    if not isinstance(value, (dict, list)):
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        yield (*place, key)
        yield from _places(value[key], (*place, key))


# What may be absent: what has a name of its own.
FREE = {
    *(("AUTOENCODER", key) for key in EXAMPLES["AUTOENCODER"] if key != "_class_name"),
    ("EXPORT", "endpoints", "generate"),
    ("EXPORT", "endpoints", "generate", "inputs", "z"),
    ("EXPORT", "endpoints", "generate", "outputs", "image"),
    ("EXPORT", "files", "generate.onnx"),
    ("METRICS", "metrics", "elbo"),
    ("METRICS", "bench"),
    ("PROTOCOLS", 0, "metrics", "fid9_test"),
    ("DATASET", "planned", "train"),
    ("DATASET", "splits", "train"),
    ("DATASET", "splits", "train", "labels"),
    ("DATASET", "splits", "train", "shards", "train-00000"),
    ("DATASET", "versions", "pillow"),
    ("PREPARATION", "planned", "train"),
    ("PREPARATION", "shards", "train-00000"),
    ("REGISTRY", "presets", "a"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_checks_every_entry(name: str) -> None:
    """No entry may be missing or of another type; further ones are kept."""
    kind, example = KINDS[name], json.loads(json.dumps(EXAMPLES[name]))  # without shared parts

    def read(value: Any) -> Any:
        return parse_json(json.dumps(value).encode(), "x.json", kind)

    assert read(example) == example
    for place in _places(example):
        keys = "/".join(map(str, place))
        if isinstance(place[-1], str) and (name, *place) not in FREE:
            with pytest.raises(ValueError, match=rf"^x\.json: {keys} is missing. The file should"):
                read(changed(example, place))
        another = {"another": "type"} if isinstance(at(example, place), list) else ["another"]
        with pytest.raises(ValueError, match=rf"^x\.json: {keys}.* is .*another.*: expected"):
            read(changed(example, place, another))
    with pytest.raises(ValueError, match=r"^x\.json: .*: expected a valid"):
        read({} if isinstance(example, list) else [])
    more = [{**example[0], "later": 1}] if isinstance(example, list) else {**example, "later": 1}
    assert read(more) == more


@pytest.mark.parametrize("name", KINDS)
def test_only_figures_may_be_infinite(name: str) -> None:
    kind, example = KINDS[name], EXAMPLES[name]
    entry = example[0] if isinstance(example, list) else example
    for text in ("NaN", "-Infinity", "1e999"):
        content = json.dumps({**entry, "later": "HERE"}).replace('"HERE"', text)
        content = f"[{content}]" if isinstance(example, list) else content
        if kind.figures:
            parse_json(content.encode(), "x.json", kind)
        else:
            with pytest.raises(ValueError, match=r"x\.json: .*later is .*expected a finite"):
                parse_json(content.encode(), "x.json", kind)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.format])
def test_a_later_format(name: str) -> None:
    """It is named, whatever else it has: its entries are those of another version."""
    with pytest.raises(ValueError, match="x is of format 2, but this version reads up to 1. Upgr"):
        parse_json(b'{"format": 2}', "x", KINDS[name])


def test_every_json_of_the_repository_is_read() -> None:
    """Those of presets, classifiers and benchmarks, which all were written by older versions."""
    kinds = {
        "saved_models/registry.json": "REGISTRY",
        "saved_models/*/config.json": "PRESET",
        "saved_models/*/metrics.json": "METRICS",
        "tests/frozen_preset/*/config.json": "PRESET",
        "tests/frozen_preset/*/metrics.json": "METRICS",
        "zoo/metrics/classifiers/*/config.json": "CLASSIFIER",
        "benchmarks/results/*_config.json": "RUN",
        "benchmarks/results/*_metrics.json": "METRICS",
        "benchmarks/results/peers/*.json": "METRICS",
        "benchmarks/results/*_machine.json": "TIMED",
    }
    for pattern, kind in kinds.items():
        places = sorted(ROOT.glob(pattern))
        assert places
        for place in places:
            assert read_json(place, KINDS[kind]) == strict_json(place.read_text())
    for place in [*ROOT.glob("benchmarks/results/*.json"), *ROOT.glob("saved_models/*/*.json")]:
        assert read_json(place) == strict_json(place.read_text())


def _random(draw: random.Random, depth: int) -> Any:
    """Plain JSON, but for numbers that are not finite."""
    if depth == 0 or draw.random() < 0.3:
        return draw.choice([
            None, True, "inf", "/a~b", 1, 0.5, float("nan"), float("inf"), float("-inf"),
        ])  # fmt: skip
    if draw.random() < 0.5:
        return [_random(draw, depth - 1) for _ in range(draw.randrange(4))]
    keys = ["", "a", "a/b", "~1", "~", "é", "0"]
    return {key: _random(draw, depth - 1) for key in draw.sample(keys, draw.randrange(4))}


def test_what_is_written_is_valid_and_read_back() -> None:
    for seed in range(300):
        draw = random.Random(seed)  # noqa: S311
        value: Any = {str(i): _random(draw, 4) for i in range(3)}
        value = [value, {"x": _random(draw, 2)}] if seed % 2 else value
        text = to_json(value)
        strict_json(text)
        assert repr(parse_json(text.encode(), "x")) == repr(value)  # NaN is not NaN


def test_infinite_numbers_are_null_with_a_note(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"metrics": {"elbo": float("-inf"), "mse": 0.5}})
    assert strict_json((tmp_path / "x.json").read_text()) == {
        "metrics": {"elbo": None, "mse": 0.5},
        "not_finite": {"/metrics/elbo": "-inf"},
    }
    with pytest.raises(ValueError, match="there is no object to note it in"):
        to_json([float("nan")])
