"""The names of protocols: what each says, and what is answered to a wrong one."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from zoo.evaluation.protocols import KINDS, SPLITS, is_value, parse, parse_all


@pytest.mark.parametrize(
    ("name", "metric", "samples", "split", "neighbours", "path"),
    [
        # num_gen, nhood_size, space and sampling of StyleGAN2-ADA's metric_main.py
        ("fid50k_full", "fid", 50_000, "train", None, None),
        ("kid50k_full", "kid", 50_000, "train", None, None),
        ("pr50k3_full", "pr", 50_000, "train", 3, None),
        ("ppl2_wend", "ppl", 50_000, None, None, "wend"),
        ("is50k", "is", 50_000, None, None, None),
        ("fid10k_test", "fid", 10_000, "test", None, None),
        ("fid500_validation", "fid", 500, "validation", None, None),
        ("dc5k_test", "dc", 5_000, "test", 5, None),
        ("pr400_test", "pr", 400, "test", 3, None),
        ("ifid10k_train", "ifid", 10_000, "train", None, None),
        ("accuracy10k", "accuracy", 10_000, None, None, None),
        ("cas50k_test", "cas", 50_000, "test", None, None),
        ("ppl1k_zfull", "ppl", 1_000, None, None, "zfull"),
    ],
)
def test_what_a_name_says(
    name: str, metric: str, samples: int, split: str | None, neighbours: int | None,
    path: str | None,
) -> None:  # fmt: skip
    found = parse(name, extractor="x", seed=3)
    assert (found.metric, found.samples, found.split) == (metric, samples, split)
    assert (found.neighbours, found.path) == (neighbours, path)
    assert (found.extractor, found.weights, found.truncation, found.seed) == ("x", "ema", None, 3)
    assert json.loads(json.dumps(found.record()))["name"] == name
    assert all(is_value(value) for value in found.directions)


def test_directions() -> None:
    wanted = {"pr5k3_test_precision": True, "pr5k3_test_recall": True}
    assert parse("pr5k3_test").directions == wanted
    assert parse("fid5k_test").directions == {"fid5k_test": False}
    assert parse("is5k").directions == {"is5k": True}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("fid50k_ful", "fid50k_full"),
        ("fdi10k_test", "fid10k_test"),
        ("kid5k", "kid5k_"),  # the split is missing
        ("is50k_full", "is50k"),  # it has none
        ("fid50k3_full", "fid50k_full"),  # nor a k
        ("ppl2_wen", "ppl2_wend"),
        ("fid_test", "fid50k_test"),
        ("fid0_test", "fid50k_test"),  # and not itself
        ("", "fid50k_full"),
    ],
)
def test_what_an_unknown_name_may_have_meant(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match="Unknown metric") as caught:
        parse(name)
    assert meant in str(caught.value)


def test_numbers_and_settings_out_of_range() -> None:
    for name in ("fid0_test", "fid0k_test"):
        with pytest.raises(ValueError, match="Unknown metric"):
            parse(name)
    with pytest.raises(ValueError, match=r"fid1_test: 1 samples; expected 2"):
        parse("fid1_test")
    with pytest.raises(ValueError, match=r"expected 2 to"):
        parse("fid9999999k_test")
    with pytest.raises(ValueError, match="weights='average'"):
        parse("fid5k_test", weights="average")


@pytest.mark.parametrize("name", [None, 3, b"fid9_test", ["fid9_test"]])
def test_what_is_no_name(name: Any) -> None:
    with pytest.raises(ValueError, match="expected a name, such as 'fid10k_test'"):
        parse(name)
    with pytest.raises(ValueError, match="expected a name, such as 'fid10k_test'"):
        parse_all([name])


@pytest.mark.parametrize("names", [None, 3, "", "fid9_test"])
def test_what_is_no_list_of_names(names: Any) -> None:
    with pytest.raises(ValueError, match="expected a list of names, such as"):
        parse_all(names)


@pytest.mark.parametrize("seed", [None, "x", 1.5, -1, 2**32])
def test_what_is_no_seed(seed: Any) -> None:
    with pytest.raises(ValueError, match="expected a whole number from 0"):
        parse("kid9_test", seed=seed)


def test_every_name_of_the_grammar() -> None:
    kinds = {name: kind for name, kind in KINDS.items() if name != "ppl"}
    for (metric, kind), n, thousand, split in itertools.product(
        kinds.items(), (2, 17, 10**6), ("", "k"), SPLITS
    ):
        found = parse(f"{metric}{n}{thousand}{f'_{split}' if kind.compares else ''}")
        assert found.metric == metric
        assert found.samples == n * (1000 if thousand else 1)
        assert found.split == (SPLITS[split] if kind.compares else None)
        assert all(is_value(value) for value in found.directions)


def test_each_once() -> None:
    assert [each.name for each in parse_all(["is1k", "fid1k_test", "is1k"])] == [
        "is1k",
        "fid1k_test",
    ]
    assert not is_value("generator_loss")
    assert not is_value("val_loss")
