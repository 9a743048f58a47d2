"""A model repository for NVIDIA's Triton Inference Server: one model per endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from export.metadata import check_new, read_export, write_metadata
from export.onnx.files import export_onnx
from export.onnx.graphs import fresh_names, rename_tensors, tensors_of
from export.verification import check_export
from zoo.io.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATA_TYPES = {"float32": "TYPE_FP32", "int32": "TYPE_INT32", "uint8": "TYPE_UINT8"}
MAX_BATCH = 256
# Where several requests wait, the server makes batches of these sizes if it can.
PREFERRED_BATCHES = (8, 32, 128)
DELAY = 1000  # µs that a request may wait for others
SUFFIX = "_scalar"  # of the tensors inside a graph that are scalars


def export_triton(
    model: Any,
    path: str | Path,
    run: str | Path | None = None,
    *,
    verify: bool = True,
    **options: Any,
) -> Path:
    """Writes a model repository: MODEL_ENDPOINT/config.pbtxt and MODEL_ENDPOINT/1/model.onnx.

    Triton has no scalars: a number for each image, such as `label`, is [batch, 1] in requests, and
    a number for all of them, such as a seed, [1]. Endpoints that take the latter cannot batch.

    Args:
        model: A model of the zoo.
        path: The repository; must not exist.
        run: The run folder it comes from, for the metadata.
        verify: Whether to run the files before they are put in their place, as `check_export` does.
        **options: Those of `export_onnx`, such as `precision`.

    Returns:
        The repository.

    Raises:
        ValueError: As `export_onnx`.
        FileExistsError: If the folder exists.
    """
    path = Path(path)
    check_new(path)
    with replacing(path) as folder:
        plain = export_onnx(model, folder.parent / "onnx", run=run, verify=False, **options)
        facts = read_export(plain)
        names = facts.get("class_names", [])
        for endpoint, tensors in facts["endpoints"].items():
            place = folder / f"{facts['model']}_{endpoint}"
            (place / "1").mkdir(parents=True)
            # Weights that lie beside a file keep their names, which the file refers to.
            for file in plain.glob(f"{endpoint}.*"):
                name = "model.onnx" if file.suffix == ".onnx" else file.name
                file.rename(place / "1" / name)
            _without_scalars(place / "1" / "model.onnx", tensors["inputs"])
            (place / "config.pbtxt").write_text(
                config_of(place.name, tensors, names), encoding="utf-8"
            )
        own = ("format", "run", "folder", "files")
        entries = {key: value for key, value in facts.items() if key not in own}
        write_metadata(folder, path, "triton", run, entries)
        if verify:
            check_export(folder, model)
    return path


def config_of(name: str, tensors: Mapping[str, Any], class_names: Sequence[str] = ()) -> str:
    """`config.pbtxt`: Triton's ModelConfig as text.

    Args:
        name: The model's name in the server.
        tensors: `inputs` and `outputs`, as an endpoint of `zoo_export.json`.
        class_names: Name of each class: where there is a label, a parameter, as a list in JSON.

    Returns:
        The text. Batched, and dynamically so, if all tensors have a batch axis.
    """
    batched = all(t["shape"][:1] == ["batch"] for kind in tensors.values() for t in kind.values())
    lines = [f"name: {json.dumps(name)}", 'backend: "onnxruntime"']
    lines += [f"max_batch_size: {MAX_BATCH if batched else 0}"]
    for kind in ("input", "output"):
        for tensor, facts in tensors[f"{kind}s"].items():
            lines += [f"{kind} {{", f"  name: {json.dumps(tensor)}"]
            lines += [f"  data_type: {DATA_TYPES[facts['dtype']]}"]
            shape = [-1 if isinstance(size, str) else size for size in facts["shape"]]
            dims = shape[1:] if batched else shape
            lines += [f"  dims: {dims or [1]}"]
            if batched and not dims:
                lines += ["  reshape { shape: [] }"]
            lines += ["}"]
    if batched:
        lines += ["dynamic_batching {", f"  preferred_batch_size: {list(PREFERRED_BATCHES)}"]
        lines += [f"  max_queue_delay_microseconds: {DELAY}", "}"]
    if class_names and "label" in tensors["inputs"]:
        listed = json.dumps(json.dumps([*class_names], ensure_ascii=False), ensure_ascii=False)
        lines += [f'parameters {{ key: "class_names" value {{ string_value: {listed} }} }}']
    # On each GPU, or the CPU if there is none.
    lines += ["instance_group { count: 1 kind: KIND_AUTO }"]
    lines += ["version_policy { latest { num_versions: 1 } }"]
    return "\n".join(lines) + "\n"


def _without_scalars(file: Path, inputs: Mapping[str, Any]) -> None:
    """Rewrites a graph so that its scalar inputs are of shape [1]."""
    scalars = [name for name, tensor in inputs.items() if not tensor["shape"]]
    if not scalars:
        return
    proto = onnx.load(file, load_external_data=False)
    fresh = fresh_names(tensors_of(proto.graph))
    inner = {name: fresh(name + SUFFIX) for name in scalars}
    rename_tensors(proto.graph, inner)
    outer = {name: scalar for scalar, name in inner.items()}
    for value in proto.graph.input:
        if value.name in outer:
            value.name = outer[value.name]
            value.type.tensor_type.shape.dim.add(dim_value=1)
    for name, scalar in inner.items():
        proto.graph.node.insert(0, onnx.helper.make_node("Squeeze", [name], [scalar], scalar))
    onnx.save(proto, file)
    onnx.checker.check_model(file)
