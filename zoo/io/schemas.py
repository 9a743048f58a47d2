"""What each kind of JSON file of the project holds, for `zoo.io.records.read_json`.

A kind names what its readers need, and the type of what some readers use. Other entries are kept as
they are: other versions may have written them. Nothing is converted: what is read is what is there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Len
from typing_extensions import NotRequired, TypedDict  # pydantic takes typing's from 3.12 on

Count = Annotated[int, Gt(0)]
Index = Annotated[int, Ge(0)]
ImageShape = Annotated[list[Count], Len(3, 3)]
Figures = dict[str, float]


class Kind(NamedTuple):
    """One kind of file.

    Attributes:
        what: For errors, after "The file should be".
        schema: The type of its value, for pydantic.
        remedy: For errors: what to do.
        figures: Whether it holds measured numbers, which may be NaN or infinite.
        format: The latest format that this version reads; 0 if the kind has none.
    """

    what: str
    schema: Any
    remedy: str
    figures: bool = False
    format: int = 0


class _Run(TypedDict):
    format: Count
    model: str
    image_shape: ImageShape
    latent_dim: Count
    versions: dict[str, str]
    parameters: NotRequired[Index]
    precision: NotRequired[str]
    data: NotRequired[str | None]
    data_fingerprint: NotRequired[dict[str, Any]]
    class_names: NotRequired[list[str]]
    facts: NotRequired[dict[str, Any]]
    epochs: NotRequired[Index]
    steps: NotRequired[Count | None]
    patience: NotRequired[Count | None]
    command: NotRequired[dict[str, Any]]
    batch_size: NotRequired[Count | None]
    seed: NotRequired[int]
    order: NotRequired[str]
    validation: NotRequired[str | None]
    keep: NotRequired[Count]
    best: NotRequired[str | None]
    checkpoint_every: NotRequired[Count | None]
    metrics: NotRequired[list[str]]
    metric_every: NotRequired[Count]
    metric_extractor: NotRequired[str | None]
    metric_extractor_weights: NotRequired[str | None]
    metric_resize: NotRequired[str | None]
    metric_seed: NotRequired[int]
    mirror: NotRequired[bool]
    random_crop: NotRequired[Index]
    accumulate: NotRequired[Count]
    schedule: NotRequired[str]
    warmup_steps: NotRequired[Index]
    decay_steps: NotRequired[Count | None]
    steps_per_execution: NotRequired[Count]
    jit_compile: NotRequired[Any]
    recipe: NotRequired[str | None]
    recipe_steps: NotRequired[Count]
    converted_from: NotRequired[str]
    finetuned_from: NotRequired[dict[str, Any]]
    bench: NotRequired[dict[str, Any]]


class _Preset(TypedDict):
    format: Count
    model: str
    family: str
    image_shape: ImageShape
    latent_dim: Count
    options: dict[str, Any]
    parameters: Count
    data: str | None
    facts: dict[str, Any]
    files: dict[str, str]


class _Machine(TypedDict):
    processor: str
    cores: Count
    gpus: list[str]
    tensorflow: str


class _Row(TypedDict):
    row: str
    family: str
    note: str
    seed: int


class _FinishedRow(_Row):
    epochs: Index
    parameters: Count
    images_per_second: float | None
    machine: _Machine


class _Metrics(TypedDict):
    model: NotRequired[str]
    data: str
    split: str
    images: Count
    samples: Count
    extractor: str | None
    metrics: Figures
    resize: NotRequired[str]
    not_measured: NotRequired[dict[str, str]]
    sampler: NotRequired[str]
    seed: NotRequired[int]
    seeds: NotRequired[list[int]]
    importance_samples: NotRequired[Count]
    sampling_error: NotRequired[Figures]
    latent_r2_each: NotRequired[list[float]]
    bench: NotRequired[_FinishedRow]
    step: NotRequired[int]  # the training step that the model had reached


class _Named(TypedDict):
    name: str
    metric: str
    samples: Count
    split: str | None
    extractor: str
    resize: str | None
    weights: str
    seed: int
    metrics: Figures
    step: Index
    data: str
    images: NotRequired[int | None]
    truncation: NotRequired[float | None]
    reference: NotRequired[str]


class _Epoch(TypedDict):
    epoch: Count
    step: Index


class _Equality(TypedDict):
    latents: Count
    max_error: float
    rms_error: float
    noise_floor: float
    batch_error: float
    tolerance: float
    repeat_error: NotRequired[float]


class _TensorRow(TypedDict):
    target: str
    source: str
    rule: str
    shape: list[Index]
    status: str
    source_shape: NotRequired[list[Index] | None]


class _Conversion(TypedDict):
    source: str
    target: str
    weights: str
    equivalence: str
    equality: _Equality
    rows: list[_TensorRow]
    coverage: float
    notes: NotRequired[list[str]]
    network: NotRequired[str]
    source_network: NotRequired[str]


class _Tensor(TypedDict):
    shape: list[int | str]
    dtype: str


class _Function(TypedDict):
    inputs: dict[str, _Tensor]
    outputs: dict[str, _Tensor]


class _Standing(TypedDict):
    batches: Count
    batch_size: Count
    seed: int


class _Export(TypedDict):
    format: Literal["saved_model", "onnx", "web", "triton", "diffusers"]
    run: str | None
    model: str
    latent_dim: Count
    image_shape: ImageShape
    image_sizes: NotRequired[dict[Literal["multiple_of"], Count]]
    endpoints: dict[str, _Function]
    files: dict[str, str]
    prior: NotRequired[str]
    num_classes: NotRequired[Index]
    class_names: NotRequired[list[str]]
    weights_sha256: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    metrics: NotRequired[dict[str, Any]]
    data: NotRequired[str]
    finetuned_from: NotRequired[dict[str, Any]]
    imported_from: NotRequired[dict[str, Any]]
    standing_statistics: NotRequired[_Standing]


class _VerificationRow(TypedDict):
    runtime: str
    function: str
    output: str
    max_error: float
    rms_error: float
    noise_floor: float
    tolerance: float
    passed: bool


class _Verification(TypedDict):
    path: str
    format: str
    problems: list[str]
    rows: list[_VerificationRow]
    passed: bool
    notes: NotRequired[list[str]]


class _Listed(TypedDict):
    family: str
    model: str
    data: str | None
    image_shape: ImageShape
    size: Count
    sha256: str
    headline: Annotated[list[str | float], Len(2, 2)] | None
    num_classes: Index


class _Registry(TypedDict):
    format: Count
    presets: dict[str, _Listed]


class _Classifier(TypedDict):
    image_shape: ImageShape
    classes: Count
    sha256: str


class _Timing(TypedDict):
    images: Count
    seconds: Annotated[float, Gt(0)]


class _Failure(TypedDict):
    error: str
    bench: _Row


class _Timed(TypedDict):
    seconds: Annotated[float, Ge(0)]
    processor: NotRequired[str]
    cores: NotRequired[Count]
    resumed: NotRequired[bool]
    commit: NotRequired[str]
    metrics: NotRequired[Figures]


class _Shard(TypedDict):
    images: Index
    bytes: Count
    sha256: str
    ends_sha256: str
    skipped: NotRequired[dict[str, str]]  # why, by the index in the source


class _Labels(TypedDict):
    sha256: str
    counts: list[Index]


class _PreparedSplit(TypedDict):
    images: Count
    shards: Annotated[dict[str, _Shard], Len(1)]
    labels: NotRequired[_Labels]


class _Planned(TypedDict):
    images: Count
    images_per_shard: Count


class _Settings(TypedDict):
    format: Count
    source: str
    image_shape: ImageShape
    dtype: Literal["uint8", "float32"]
    conversion: str
    class_names: list[str] | None
    planned: dict[str, _Planned]


class _Dataset(_Settings):
    splits: Annotated[dict[str, _PreparedSplit], Len(1)]
    versions: dict[str, str]


class _Preparation(_Settings):
    shards: dict[str, _Shard]


# Of the package diffusers, which omits what has its own default.
class _Autoencoder(TypedDict):
    _class_name: str
    in_channels: NotRequired[Count]
    out_channels: NotRequired[Count]
    down_block_types: NotRequired[list[str]]
    up_block_types: NotRequired[list[str]]
    block_out_channels: NotRequired[Annotated[list[Count], Len(1)]]
    layers_per_block: NotRequired[Count]
    act_fn: NotRequired[str]
    latent_channels: NotRequired[Count]
    norm_num_groups: NotRequired[Count]
    sample_size: NotRequired[Count]
    scaling_factor: NotRequired[float]
    shift_factor: NotRequired[float | None]
    latents_mean: NotRequired[list[float] | None]
    latents_std: NotRequired[list[float] | None]
    use_quant_conv: NotRequired[bool]
    use_post_quant_conv: NotRequired[bool]
    mid_block_add_attention: NotRequired[bool]


class _Point(TypedDict):
    step: Index
    seconds: Annotated[float, Ge(0)]


RUN = Kind(
    "the config.json of a run, as `zoo train` and `zoo convert` write it",
    _Run,
    "Take it from a copy, or train again.",
    format=1,
)
PRESET = Kind(
    "the config.json of a preset, as `save_preset` writes it",
    _Preset,
    "Get the preset anew. (A run folder is given to load_run.)",
    format=1,
)
METRICS = Kind("metrics, as `zoo evaluate` writes them", _Metrics, "Measure again.", figures=True)
PROTOCOLS = Kind(
    "one entry for each named metric, as `zoo evaluate --metric` writes them",
    Annotated[list[_Named], Len(1)],
    "Remove it, and measure again.",
    figures=True,
)
HISTORY = Kind(
    "one entry for each epoch, as `zoo train` writes them",
    Annotated[list[_Epoch], Len(1)],
    "Take it from a copy, or remove it: only the losses of past epochs are lost.",
    figures=True,
)
CONVERSION = Kind(
    "a conversion's report, as `zoo convert` writes it", _Conversion, "Convert again.", figures=True
)
EXPORT = Kind(
    "the metadata of an export, as `zoo export` writes them", _Export, "Export again.", figures=True
)
VERIFICATION = Kind(
    "a verification's report, as `zoo verify` writes it",
    _Verification,
    "Remove it, and verify again.",
    figures=True,
)
REGISTRY = Kind(
    "the list of presets", _Registry, "Install the package anew.", figures=True, format=1
)
CLASSIFIER = Kind(
    "a classifier's description, as `zoo train-classifier` writes it",
    _Classifier,
    "Train it again; or, for the one of the package, install that anew.",
)
TIMING = Kind(
    "one entry for each epoch, as `zoo bench` writes them",
    list[_Timing],
    "Remove it: only the speed of past epochs is lost.",
)
TIMED = Kind(
    "what a command of `benchmarks/` took and found",
    _Timed,
    "Remove it, and measure again.",
    figures=True,
)
CURVE = Kind(
    "points of a curve, as `benchmarks/conversion.py` writes them",
    list[_Point],
    "Remove its folder, and measure again.",
    figures=True,
)
FAILURE = Kind("why a row failed, as `zoo bench` writes it", _Failure, "Remove it.")
DATASET = Kind(
    "the dataset.json of a prepared folder, as `zoo data prepare` writes it",
    _Dataset,
    "Take it from a copy, or prepare the data again.",
    format=1,
)
PREPARATION = Kind(
    "the progress of `zoo data prepare`",
    _Preparation,
    "Remove its folder, and prepare the data again.",
    format=1,
)
AUTOENCODER = Kind(
    "the config.json of an AutoencoderKL, as the package diffusers writes it",
    _Autoencoder,
    "Take the folder of an AutoencoderKL, often called vae.",
)
