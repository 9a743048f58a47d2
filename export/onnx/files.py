"""ONNX: one file per endpoint, with named tensors and BatchNorm folded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from export.functions import as_model, endpoints, model_facts
from export.metadata import check_new, provenance, write_metadata
from export.onnx.phases import split_upsampled_convolutions
from export.onnx.preflight import preflight
from export.onnx.simplify import simplify
from export.verification import check_export
from zoo.convert import is_functional
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.convert.rules import fold_norms, upsample_conv_to_conv_transpose
from zoo.io.files import replacing
from zoo.io.records import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

DEFAULT_OPSET = 18
PRECISIONS = ("float32", "float16", "int8")
LARGE = 2**30  # bytes; a file of more than twice as many is no protocol buffer


def export_onnx(
    model: Any,
    path: str | Path,
    opset: int = DEFAULT_OPSET,
    run: str | Path | None = None,
    *,
    precision: str = "float32",
    external_data: bool = False,
    functions: Sequence[str] | None = None,
    every_size: bool = True,
    verify: bool = True,
) -> Path:
    """Writes a folder of ONNX files: `generate.onnx` and, for VAEs, `encode.onnx` and so on.

    Args:
        model: As for `endpoints`.
        path: The folder; must not exist.
        opset: ONNX operator set, 13 to 18.
        run: The run folder it comes from, for the metadata.
        precision: `"float32"`; `"float16"`, of half the size; `"int8"`, of a quarter but for the
            first layer and faster on CPUs with int8 instructions. Inputs and outputs stay float32.
            The loss in quality is measured, and in the metadata (see `export.onnx.reduced`).
        external_data: Put weights beside each file, into NAME.weights. Always where a file would
            exceed 1 GiB, as readers take up to 2.
        functions: Names of the functions to export, as for `endpoints`.
        every_size: As for `endpoints`.
        verify: Whether to run the files before they are put in their place, as `check_export` does.

    Returns:
        The folder.

    Raises:
        ValueError: If the opset or the precision is none of these, or an operation has no ONNX form
            (it is named, with its layer and what helps), or a file does not compute what the model
            computes.
        FileExistsError: If the folder exists.
        OSError: If it cannot be written; then nothing is.
    """
    path = Path(path)
    if precision not in PRECISIONS:
        msg = f"precision={precision!r}: expected one of {', '.join(PRECISIONS)}."
        raise ValueError(msg)
    check_new(path)
    model = as_model(model)
    served = endpoints(model, _rewritten, functions, every_size=every_size)
    converted = preflight(served, opset)
    protos = {name: simplify(proto) for name, proto in converted.items()}
    plain = endpoints(model, functions=functions, every_size=every_size)
    entries = {
        "opset": opset,
        "precision": precision,
        **model_facts(model, plain),
        **provenance(run),
    }
    if precision != "float32":
        from export.onnx.reduced import reduced  # noqa: PLC0415  (its tools are slow to import)

        protos, entries["quality"] = reduced(protos, precision, model, plain)
    for name, proto in protos.items():
        for key, value in {"endpoint": name, **entries}.items():
            text = value if isinstance(value, str) else to_json(value)
            proto.metadata_props.add(key=key, value=text)
    with replacing(path) as folder:
        folder.mkdir()
        for name, proto in protos.items():
            _save(proto, folder / f"{name}.onnx", external=external_data)
        write_metadata(folder, path, "onnx", run, entries)
        if verify:
            check_export(folder, model)
    return path


def _rewritten(network: keras.Model) -> keras.Model:
    """The network as it is exported: fewer layers, the same function."""
    if not is_functional(network):
        return network
    blocks = fold_norms(read(network, "model"))
    for block in blocks:
        if block.kind == "Conv2D" and tuple(block.config["kernel_size"]) == (1, 1):
            # The same here, and then merged with upsampling too.
            blocks = blocks.replaced(block.with_config(padding="same"))
    if any(None in block.shape for block in blocks.inputs):
        return build(split_upsampled_convolutions(blocks))
    return build(upsample_conv_to_conv_transpose(blocks))


def _save(proto: onnx.ModelProto, file: Path, *, external: bool) -> None:
    if external or proto.ByteSize() > LARGE:
        onnx.save(
            proto,
            file,
            save_as_external_data=True,
            location=f"{file.stem}.weights",
        )
    else:
        onnx.save(proto, file)
    onnx.checker.check_model(file, full_check=True)
