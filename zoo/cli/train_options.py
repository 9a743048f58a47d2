"""The options of `zoo train`: what each is, costs and gains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli import config
from zoo.cli.options import COUNTED, PATH, SOURCE, model_names, preset_names

# Headings of `zoo train --help`.
RATES, SCALE, CHECKPOINTS = "Learning rates", "Speed and scale", "Checkpoints"
START = "Starting from a trained model"

ModelOrRun = Annotated[
    str | None,
    typer.Argument(
        help="A model of `zoo list`, or a run folder to go on with. With --from it is not needed.",
        autocompletion=model_names,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Start with the weights, averages and networks of a trained model: a name of `zoo "
        "list --pretrained`, a run folder, a checkpoint, hf://… or https://…",
        autocompletion=preset_names,
        rich_help_panel=START,
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        callback=config.joined,
        help="NEW=OLD: the class of --from that a class of --data starts as, by name or number, "
        "such as boot=9. Classes of equal names need none. all=OLD for data without classes. "
        "Repeatable.",
        rich_help_panel=START,
    ),
]
FreezeDiscriminator = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Keep so many blocks of the discriminator as they are, from the image on (FreezeD). "
        "Less overfits with few images.",
        rich_help_panel=START,
    ),
]
FreezeGenerator = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Keep so many blocks of the generator as they are, from the latent on.",
        rich_help_panel=START,
    ),
]
CarriedRate = Annotated[
    float | None,
    typer.Option(
        help="Learning rate of the layers that are carried over, as a multiple of that of the new "
        "ones, which come with a larger --image-size or with classes.",
        rich_help_panel=START,
    ),
]
Data = Annotated[str, typer.Option(help=f"{SOURCE}.")]
Out = Annotated[Path | None, typer.Option(help="The run folder. Default: runs/MODEL.", **PATH)]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs in all.")]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1,
        callback=COUNTED,
        help="In place of --epochs: training steps in all. The last may lie within an epoch.",
    ),
]
Images = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="In place of --epochs: images in all, each counted as often as it is seen. Training "
        "ends with the step that sees the last of them.",
    ),
]
MaxMinutes = Annotated[
    float | None,
    typer.Option(
        help="Stop after this many minutes, and save as Ctrl-C does; --resume continues. An "
        "epoch's end, with its evaluation, is not cut short."
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Stop when this many epochs have brought no better value of the --best metric. "
        "--resume keeps the count.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        is_eager=True,
        callback=config.from_file,
        help="A TOML file of these options, or the config.json of a run. Options on the command "
        "line come first.",
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option("--print-config", help="Train nothing: print all settings as TOML, for --config."),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1, help="Images per update, on all replicas together. Default: the model's own."
    ),
]
LatentDim = Annotated[int, typer.Option(min=1, callback=COUNTED, help="Latent dimensions.")]
Network = Annotated[
    str | None,
    typer.Option(
        help="Architecture: mlp, conv, resnet, sagan, biggan or biggan_deep; a number sets the "
        "width of all but mlp, as in conv-32. vq_vae takes grid, and vqgan autoencoder_kl; "
        "autoencoder_kl, vdvae, r3gan and fastgan take networks of their own names, and stylegan2 "
        "takes style or stylegan2. "
        "Default: the model's own."
    ),
]
Channels = Annotated[
    int | None,
    typer.Option(
        help="Read all images as grey (1), as colour (3), or as colour with alpha (4). "
        "Default: 1 if all are grey, else 3. With 1 and 3 transparent pixels become white."
    ),
]
Option = Annotated[
    list[str] | None,
    typer.Option(
        callback=config.joined,
        help="An option of the model, such as likelihood=bernoulli or ema=0.999.",
    ),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror",
        help="Turn left and right round in half of the training images, at random. For things "
        "that look the same in a mirror: faces, not letters.",
    ),
]
RandomCrop = Annotated[
    int,
    typer.Option(
        min=0,
        callback=COUNTED,
        help="Read training images so many pixels larger, and train on a window at a random "
        "place: things then lie up to so far from where they lay.",
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        help="Learning rate of the model's optimizer, in place of the paper's. Of several "
        "optimizers the others keep their ratio to the first, the generator's for a GAN.",
        rich_help_panel=RATES,
    ),
]
GeneratorLearningRate = Annotated[
    float | None,
    typer.Option(help="The generator's alone.", rich_help_panel=RATES),
]
DiscriminatorLearningRate = Annotated[
    float | None,
    typer.Option(help="The discriminator's alone.", rich_help_panel=RATES),
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        help="In place of the paper's optimizer: adam, adamw, adamax, nadam, lamb, lion, rmsprop, "
        "sgd, adagrad or adadelta. The paper's learning rates stay, and so do Adam's momenta "
        "where both are relatives of Adam. All else is Keras's default.",
        rich_help_panel=RATES,
    ),
]
OptimizerOption = Annotated[
    list[str] | None,
    typer.Option(
        callback=config.joined,
        help="An option of the optimizer by Keras's name, such as beta_1=0.5. Repeatable.",
        rich_help_panel=RATES,
    ),
]
WeightDecay = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Shrink every weight by this times the learning rate at each update, apart from "
        "its gradient (decoupled, as in AdamW).",
        rich_help_panel=RATES,
    ),
]
Schedule = Annotated[
    str,
    typer.Option(
        help="constant, linear or cosine: how the learning rates fall to 0 over --epochs. The "
        "result of a fall is better, and the run cannot be continued. A converted run takes "
        "--recipe plain with it.",
        rich_help_panel=RATES,
    ),
]
WarmupSteps = Annotated[
    int,
    typer.Option(
        min=0,
        callback=COUNTED,
        help="Training steps over which the learning rates first rise linearly from 0.",
        rich_help_panel=RATES,
    ),
]
# The name of --schedule linear in earlier versions.
Decay = Annotated[bool, typer.Option("--decay", hidden=True)]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue the run in --out until it has had --epochs: by default those it was "
        "begun with, and 10 at least. It keeps the settings that it was begun with; only "
        "--strategy and --replicas may differ. `zoo train FOLDER` does the same.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="How to train a run that `zoo convert` made. A VAE takes joint (sleep, wake, then "
        "both networks; the default), frozen (the decoder stays the generator) or plain. A GAN "
        "takes warm-up (the discriminator first; the default) or plain.",
    ),
]
Strategy = Annotated[
    str,
    typer.Option(
        help="none, mirrored (the GPUs of this machine), multi-worker (those of TF_CONFIG or "
        "SLURM) or auto. The result is the same in less time. Each update waits for the sum of "
        "all gradients.",
        rich_help_panel=SCALE,
    ),
]
Replicas = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="GPUs to use. Without a GPU the CPU is split: slower, and meant for trials.",
        rich_help_panel=SCALE,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, mixed_bfloat16 or mixed_float16. The mixed ones halve the memory of "
        "activations and use a GPU's matrix units; the networks compute with 2 to 3 decimal "
        "digits. float16 overflows sooner, needs loss scaling, and is several times slower on "
        "a CPU.",
        rich_help_panel=SCALE,
    ),
]
Accumulate = Annotated[
    int,
    typer.Option(
        min=1,
        help="Compute each update in this many parts. The gradients are the same, memory holds "
        "the activations of one part, and a step takes longer (a Gaussian VAE needs a second "
        "forward pass). BatchNorm sees the parts.",
        rich_help_panel=SCALE,
    ),
]
Remat = Annotated[
    bool | None,
    typer.Option(
        "--remat/--no-remat",
        help="Keep few activations, and compute the others again in the backward pass (gradient "
        "checkpointing). The weights come out the same, in less memory and more time. A resumed "
        "run may change over.",
        rich_help_panel=SCALE,
    ),
]
MemoryCheck = Annotated[
    bool,
    typer.Option(
        "--memory-check/--no-memory-check",
        help="Refuse what cannot fit into memory, before anything is written.",
        rich_help_panel=SCALE,
    ),
]
StepsPerExecution = Annotated[
    int,
    typer.Option(
        min=1,
        help="Steps between returns to Python. More of them save time where a step takes less "
        "than a few ms. Signals and checkpoints wait for all of them.",
        rich_help_panel=SCALE,
    ),
]
Jit = Annotated[
    bool,
    typer.Option(
        "--jit",
        help="Compile the step with XLA. On one GPU it is faster after a slow first step; on a "
        "CPU it is slower. The same seed gives other noise. It takes one replica only.",
        rich_help_panel=SCALE,
    ),
]
ClipNorm = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Scale each optimizer's gradient down to this norm. A rare large gradient then "
        "cannot ruin a run; too small a norm slows learning. It costs next to nothing.",
        rich_help_panel=SCALE,
    ),
]
Validation = Annotated[
    str | None,
    typer.Option(
        help="Evaluate on this split after each epoch; the values are logged as val_…. Each "
        "evaluation is a pass over the split.",
        rich_help_panel=CHECKPOINTS,
    ),
]
Keep = Annotated[int, typer.Option(min=1, help="Checkpoints to keep.", rich_help_panel=CHECKPOINTS)]
Metric = Annotated[
    list[str] | None,
    typer.Option(
        help="Measure this after each epoch, such as fid5k_test, with the averaged generator "
        "where there is one. docs/evaluation.md lists the names. It can be given more than "
        "once.",
        rich_help_panel=CHECKPOINTS,
    ),
]
MetricEvery = Annotated[
    int,
    typer.Option(
        min=1,
        help="Epochs from one measurement to the next. Each takes the time to make and judge "
        "the samples.",
        rich_help_panel=CHECKPOINTS,
    ),
]
MetricExtractor = Annotated[
    str | None,
    typer.Option(
        help="The network whose features --metric compares, as in `zoo evaluate --extractor`.",
        rich_help_panel=CHECKPOINTS,
    ),
]
MetricExtractorWeights = Annotated[
    Path | None,
    typer.Option(
        help="File of that network's weights, in place of the download.",
        rich_help_panel=CHECKPOINTS,
    ),
]
MetricResize = Annotated[
    str | None,
    typer.Option(
        help="How images are brought to that network's size, as in `zoo evaluate --resize`.",
        rich_help_panel=CHECKPOINTS,
    ),
]
Best = Annotated[
    str | None,
    typer.Option(
        help="Also keep best.keras, of the epoch with the best value of this logged metric, "
        "such as loss, val_loss or one of --metric. The best is the lowest; of metrics such as "
        "is5k, the highest.",
        rich_help_panel=CHECKPOINTS,
    ),
]
Tracker = Annotated[
    str | None,
    typer.Option(
        help="Also log the epochs to wandb (Weights & Biases) or mlflow, whose package must be "
        "installed. The tracker's own environment variables say where, such as WANDB_MODE=offline "
        "or MLFLOW_TRACKING_URI.",
        rich_help_panel=CHECKPOINTS,
    ),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Steps between checkpoints, besides the one per epoch. A killed run then loses "
        "less; each checkpoint costs the time to write the model.",
        rich_help_panel=CHECKPOINTS,
    ),
]
