"""Model cards: the README.md of a preset, made of its facts, with Hugging Face's metadata."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core import registry

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Source(NamedTuple):
    """A data set that presets were trained on."""

    title: str
    hub: str | None  # its name on Hugging Face
    license: str
    link: str


_FASHION = _Source(
    "Fashion-MNIST",
    "zalando-datasets/fashion_mnist",
    "MIT",
    "https://github.com/zalandoresearch/fashion-mnist",
)
SOURCES = {
    "fashion_mnist": _FASHION,
    "fashion_mnist_sample": _FASHION,
    "emoji": _Source(
        "Noto Emoji, PNGs of 64 × 64 in the npm package emoji-datasource-google 16.0.0",
        None,
        "Apache-2.0",
        "https://github.com/googlefonts/noto-emoji",
    ),
    "sprites": _Source("Sprites, drawn by zoo.data.sprites", None, "MIT", "the code of this model"),
}
# Facts that have a place of their own in the card; the table of the training lists the others.
_PLACED = (
    "license", "license_name", "license_link", "intended_use", "limits", "data_license",
    "class_names", "imported_from",
)  # fmt: skip
UNKNOWN = "unknown"  # the licence that no one states, as Hugging Face calls it
INTENDED = (
    "Research and teaching: a trained reference of its method, a start for further training, a "
    "test of exports and conversions."
)
UNCONDITIONAL = "unconditional-image-generation"  # a task of Hugging Face
CONDITIONAL = "class-conditional-image-generation"  # for which it has none: a tag
LIMITS = (
    "It draws what its training images show, with their biases and gaps, at their size, and makes "
    "no statement about the world. Single images can be malformed; the metrics are averages."
)

PUBLISHED = "such as published FIDs."
UNPUBLISHED = "as `zoo evaluate` gives them; not with published FIDs, which are of another network."


def card(name: str, config: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    """The README.md of a preset.

    Args:
        name: Name of the preset.
        config: Its `config.json`.
        metrics: Its `metrics.json`, if any.

    Returns:
        The text, in Markdown with a YAML header.
    """
    facts, data = config["facts"], config["data"]
    origin = facts.get("imported_from")
    source = SOURCES.get(data, _Source(data or "unknown", None, "see its source", ""))
    summaries = {model.name: model.summary for model in registry.describe_models()}
    height, width, channels = config["image_shape"]
    classes = config["options"].get("num_classes", 0)
    names = ", ".join(f"{i} = {name}" for i, name in enumerate(facts.get("class_names", ())))
    kind = "Unconditional: no classes."
    if classes:
        kind = f"Class-conditional: {classes} classes{': ' if names else ''}{names}."
    licence = facts.get("data_license", source.license)
    made = {key: value for key, value in facts.items() if key not in _PLACED}
    parts = [
        _metadata(name, config, metrics, source),
        f"# {name}",
        summaries[config["model"]],
        (
            f"Images of {height} × {width} × {channels}, float32 in [0, 1]; {config['latent_dim']} "
            f"latent dimensions; {config['parameters']:,} parameters. {kind}"
        ),
        _imported_usage(name, config) if origin else _usage(name, classes),
        "![Samples](samples.png)" if "samples.png" in config["files"] else "",
        _sampler(name, classes) if "sampler_gmm.npz" in config["files"] else "",
        "![Images and their reconstructions](reconstructions.png)"
        if "reconstructions.png" in config["files"]
        else "",
        *(_origin(facts) if origin else ()),
        "" if origin else "## Data",
        "" if origin else f"{source.title} (licence: {licence}). {source.link}".strip(),
        "" if origin and not made else "## Training",
        _table(made) if made else "" if origin else "Not recorded.",
        "## Metrics",
        _measured(metrics) if metrics else "Not measured.",
        f"## Intended use\n\n{facts.get('intended_use', INTENDED)}",
        f"## Limits\n\n{facts.get('limits', LIMITS)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _metadata(
    name: str, config: Mapping[str, Any], metrics: Mapping[str, Any] | None, source: _Source
) -> str:
    """YAML, of which JSON is a part."""
    conditional = bool(config["options"].get("num_classes", 0))
    task = CONDITIONAL if conditional else UNCONDITIONAL
    facts = config["facts"]
    origin = facts.get("imported_from")
    tags = ["vaegan-zoo", config["family"], config["model"], *([] if origin else [task])]
    entries: dict[str, Any] = {
        "license": facts.get("license", "mit"),
        **{key: facts[key] for key in ("license_name", "license_link") if key in facts},
        "library_name": "keras",
        **({} if conditional or origin else {"pipeline_tag": task}),
        "tags": list(dict.fromkeys(tags)),
    }
    if origin and origin.get("repository"):
        entries["base_model"] = origin["repository"]
    if source.hub:
        entries["datasets"] = [source.hub]
    if metrics:  # JSON has no NaN and no infinities
        values = {k: v for k, v in metrics["metrics"].items() if math.isfinite(v)}
        entries["metrics"] = list(values)
        result = {
            "task": {"type": task},
            "dataset": {"type": source.hub or source.title, "name": source.title},
            "metrics": [
                {"type": key, "name": key, "value": value} for key, value in values.items()
            ],
        }
        entries["model-index"] = [{"name": name, "results": [result]}]
    lines = (f"{key}: {json.dumps(value, allow_nan=False)}" for key, value in entries.items())
    return "\n".join(("---", *lines, "---"))


def _usage(name: str, classes: int) -> str:
    drawn = "images = model.generate(16, seed=0)  # float32 [16, height, width, channels]"
    if classes:
        drawn += f"\nof_a_class = model.generate(16, seed=0, labels=0)  # 0 to {classes - 1}"
    return (
        "```python\nimport zoo\n\n"
        f"model = zoo.load_pretrained({json.dumps(name)})  # or this folder, or hf://org/{name}\n"
        f"{drawn}\n```"
    )


def _imported_usage(name: str, config: Mapping[str, Any]) -> str:
    factor = 2 ** (len(config["options"]["channels"]) - 1)
    return (
        "```python\nimport zoo\n\n"
        f"model = zoo.load_pretrained({json.dumps(name)})  # or this folder, or hf://org/{name}\n"
        f"# images: float32 [n, height, width, {config['image_shape'][2]}] in [0, 1], with sides "
        f"that {factor} divides\n"
        "mean, log_variance = model.encode(images)\n"
        "images = model.decode(mean)\n```"
    )


def _origin(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the weights come from, and under what licence."""
    origin, licence = facts["imported_from"], facts.get("license", UNKNOWN)
    revision = f", revision `{origin['revision']}`" if origin.get("revision") else ""
    more = [facts[key] for key in ("license_name", "license_link") if key in facts]
    stated = f"{licence} ({', '.join(more)})" if more else licence
    return (
        "## Origin",
        (
            f"The weights are those of `{origin['source']}`{revision}: the file "
            f"`{origin['file']}`, whose SHA-256 is `{origin['sha256']}`. In the package diffusers "
            f"the class of the model is `{origin['class']}`."
        ),
        "## Licence of the weights",
        "**None is stated where the weights come from.** Ask their publisher before you use them "
        "or pass them on."
        if licence == UNKNOWN
        else f"{stated}, as their publisher states it.",
    )


def _sampler(name: str, classes: int) -> str:
    each, labels, asked, given = "A", "", "", ""
    if classes:
        each, labels = "For each class a", f"labels = 0  # to {classes - 1}, or one per image\n"
        asked, given = ", labels=labels", ", labels"
    return (
        f"{each} Gaussian mixture fitted to the posteriors of the training images (arXiv "
        "1903.12436) draws latents that the decoder knows better than the prior's:\n\n"
        "```python\nfrom zoo.hub import load_sampler\n\n"
        f"{labels}latents = load_sampler({json.dumps(name)}).sample(16, seed=0{asked})\n"
        f"images = model.generate_from(latents{given})\n```\n\n"
        "![Samples of the mixture](samples_gmm.png)"
    )


def _measured(metrics: Mapping[str, Any]) -> str:
    errors = metrics.get("sampling_error", {})
    rows = [
        f"| {key} | {value:.5g} | {errors[key]:.2g} |"
        if key in errors
        else f"| {key} | {value:.5g} | |"
        for key, value in metrics["metrics"].items()
    ]
    images = f"{metrics['images']:,} images of the {metrics['split']} split of {metrics['data']}"
    if metrics["extractor"] is None:
        protocol = f"Of {images}; likelihoods in nats per image. No samples were measured. "
    else:
        of_inception = metrics["extractor"] == "inception_fid"
        resized = f" ({metrics['resize']})" if metrics.get("resize") else ""
        protocol = (
            f"{metrics['samples']:,} samples ({metrics['sampler']}) against {images}; features of "
            f"the extractor `{metrics['extractor']}`{resized}. Distances compare with those of the "
            f"same extractor, split and numbers, {PUBLISHED if of_inception else UNPUBLISHED} "
        )
    if any(name.endswith("_gmm") for name in metrics["metrics"]):
        protocol += "Those with `_gmm` are of the mixture. "
    protocol += "The last column is the standard deviation over sample seeds."
    return "\n".join((protocol, "", "| metric | value | ± |", "| --- | --- | --- |", *rows))


def _table(facts: Mapping[str, Any]) -> str:
    rows = [
        f"| {key} | {value if isinstance(value, str) else json.dumps(value, allow_nan=False)} |"
        for key, value in facts.items()
    ]
    return "\n".join(("| | |", "| --- | --- |", *rows))
