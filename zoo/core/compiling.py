"""`compile` for models with several optimizers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar

import keras

from zoo.core import optimizers as algorithms
from zoo.core import schedules
from zoo.core.hooks import check_names, check_players
from zoo.core.keras_fixes import gradients_are_sums
from zoo.core.onednn_faults import check_convolutions
from zoo.core.remat import rematerialize
from zoo.core.replicated_step import ReplicatedStep


class Compiling(ReplicatedStep):
    """A model with an optimizer for each of its players."""

    model_name: ClassVar[str]

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """The paper's optimizer for one of `optimizer_names`, a new one at each call."""
        raise NotImplementedError

    def compile(
        self,
        *optimizers: Any,
        algorithm: str | None = None,
        optimizer_options: Mapping[str, Any] | None = None,
        learning_rate: float | Mapping[str, float] | None = None,
        schedule: str | None = None,
        warmup_steps: int = 0,
        decay_steps: int | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        remat: bool = False,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        """Sets the optimizers, by default the paper's.

        Args:
            *optimizers: A Keras optimizer or None for each of `optimizer_names`, in their order;
                or as keyword arguments.
            algorithm: One of `zoo.core.optimizers.ALGORITHMS`, such as "adamw", for all optimizers
                in place of the paper's; `optimizer_of` there says what stays.
            optimizer_options: Keras's arguments for all optimizers, such as `{"beta_1": 0.5}`.
            learning_rate: Takes the place of the paper's learning rates. A number is that of
                the first of `optimizer_names`; the others keep their ratio to it, such as `ttur`.
                Or by name of the optimizer.
            schedule: How every learning rate falls to 0: "linear" or "cosine", over `decay_steps`;
                or "constant". None takes linear where `decay_steps` are given, else constant.
            warmup_steps: Training steps over which every learning rate first rises linearly from 0.
            decay_steps: Training steps, the warm-up's included, after which the rates stay 0.
            accumulate: Number of parts that an update's batch is computed in, one after the other.
                The gradients are those of the whole batch. Exceptions are computations between
                examples, which see the parts: BatchNorm, and the losses of `beta_tc_vae`,
                `info_vae` and `wae_mmd`.
            clip_norm: Largest norm of each optimizer's whole gradient. None does not clip.
            remat: Compute activations again in the backward pass, to save memory: `core.remat`.
            jit_compile: Compile the step with XLA. XLA draws other random numbers: the run is as
                repeatable, but it is another run.
            **kwargs: Optimizers by name; `run_eagerly` and `steps_per_execution` as in Keras.
                docs/keras.md has all arguments of `keras.Model.compile`.

        Raises:
            ValueError: If an optimizer has an unknown name, some are given by position and others
                not, or two names share one object; if the model's `players` are no players; if an
                argument of Keras means nothing here; if a learning rate is no number above 0, or is
                of an optimizer that is given too; if the algorithm has not such an option; if the
                steps are no schedule, or a learning rate has one already; if `accumulate` < 1 or
                `clip_norm` is no finite number above 0, or an optimizer clips otherwise; if XLA is
                to compile several replicas, or `remat`; or if oneDNN's gradients of a layer are
                wrong.

        Example:
            >>> import zoo
            >>> model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
            >>> model.compile(accumulate=2, clip_norm=1.0, learning_rate=1e-4)
            >>> model.optimizer_names
            ('generator_optimizer', 'discriminator_optimizer')
        """
        self._check_compile(kwargs, jit_compile)
        check_players(self)
        check_convolutions(self)
        given = self._given_optimizers(optimizers, kwargs)
        _check_alone(given, algorithm=algorithm, optimizer_options=optimizer_options)
        rates = self._given_rates(learning_rate, given)
        shape = schedules.checked_shape(schedule, warmup_steps, decay_steps)
        self._check_step(accumulate, clip_norm, jit_compile, remat=remat)
        ready = {name: keras.optimizers.get(optimizer) for name, optimizer in given.items()}
        for name in self.optimizer_names:
            optimizer = ready.get(name) or algorithms.optimizer_of(
                self.default_optimizer(name), algorithm, optimizer_options or {}
            )
            if name in rates:
                optimizer = _with_rate(optimizer, rates[name])
            if warmup_steps or decay_steps is not None:
                updates = self.updates_a_step(name)
                optimizer = _scheduled(optimizer, shape, updates, warmup_steps, decay_steps)
            ready[name] = optimizer
        self.accumulate = accumulate
        self._set_remat(remat)
        for name, optimizer in ready.items():
            if clip_norm is not None:
                _clip(without_loss_scale(optimizer), clip_norm)
            setattr(self, name, self._prepared(optimizer))
        # The first is Keras's "the optimizer"; float16's scaling is there already, for each.
        kwargs = {**kwargs, "jit_compile": jit_compile, "auto_scale_loss": False}
        super().compile(optimizer=getattr(self, self.optimizer_names[0]), **kwargs)
        for name in self.optimizer_names:
            getattr(self, name).build(self.variables_of(name))

    def set_remat(self, remat: bool) -> None:  # noqa: FBT001
        """Turns gradient checkpointing on or off, as `compile(remat=…)` does.

        A run trains to equal weights with and without it, and may change over when it is resumed.
        """
        _check_remat(remat, self.jit_compile)
        self._set_remat(remat)
        self.train_function = None  # which `fit` then makes anew

    def _set_remat(self, remat: bool) -> None:  # noqa: FBT001
        self.remat = remat
        rematerialize(self, remat=remat)

    def _check_compile(self, given: dict[str, Any], jit_compile: Any) -> None:
        """Refuses what Keras's `compile` takes and no step here would look at."""
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if given.get(name) is not None:
                msg = (
                    f"{name}={given[name]!r}: a {self.model_name} has its own losses, and logs "
                    f"{', '.join(self.log_names)}. Leave it out; choose losses by the model's "
                    "options, and measure more with `zoo.evaluate`."
                )
                raise ValueError(msg)
        if given.get("auto_scale_loss") is False:
            msg = (
                "auto_scale_loss=False: float16's gradients need the scale. Leave it out, or "
                "create the model with dtype='mixed_bfloat16', which needs none."
            )
            raise ValueError(msg)
        if jit_compile not in (True, False):
            msg = (
                f"jit_compile={jit_compile!r}: expected True or False, for XLA draws other random "
                "numbers."
            )
            raise ValueError(msg)

    def _check_step(
        self, accumulate: int, clip_norm: float | None, jit_compile: Any, *, remat: bool
    ) -> None:
        """Refuses what a step cannot be computed with."""
        _check_remat(remat, jit_compile)
        if accumulate < 1:
            msg = f"accumulate={accumulate}: expected at least 1."
            raise ValueError(msg)
        if clip_norm is not None and not 0.0 < clip_norm < math.inf:
            msg = f"clip_norm={clip_norm}: expected a finite number above 0, or None."
            raise ValueError(msg)
        replicas = self.distribute_strategy.num_replicas_in_sync
        if jit_compile and replicas > 1:
            msg = (
                f"jit_compile=True with {replicas} replicas: XLA cannot compile the sums over "
                "replicas. Leave it out, or train on one device."
            )
            raise ValueError(msg)

    def _given_optimizers(
        self, optimizers: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The optimizers that `compile` was given, by name, taken out of `kwargs`."""
        unknown = [n for n in kwargs if n.endswith("optimizer") and n not in self.optimizer_names]
        if unknown or len(optimizers) > len(self.optimizer_names):
            msg = (
                f"{unknown[0] if unknown else len(optimizers)}: this {self.model_name} has "
                f"{', '.join(self.optimizer_names)}."
            )
            raise ValueError(msg)
        if 0 < len(optimizers) < len(self.optimizer_names):
            msg = (
                f"{len(optimizers)} optimizer for {', '.join(self.optimizer_names)}: expected one "
                f"for each in this order, or by name: `{self.optimizer_names[0]}=…`. None takes "
                "the paper's."
            )
            raise ValueError(msg)
        given = dict(zip(self.optimizer_names, optimizers, strict=False))
        given |= {name: kwargs.pop(name) for name in self.optimizer_names if name in kwargs}
        objects = [id(x) for x in given.values() if isinstance(x, keras.optimizers.Optimizer)]
        if len(set(objects)) < len(objects):
            msg = f"One optimizer for {', '.join(given)}: expected an object for each."
            raise ValueError(msg)
        return given

    def _given_rates(
        self, learning_rate: float | Mapping[str, float] | None, given: dict[str, Any]
    ) -> dict[str, float]:
        """The learning rates that `compile` was given, by name of the optimizer."""
        if learning_rate is None:
            return {}
        if isinstance(learning_rate, Mapping):
            rates = dict(learning_rate)
        else:
            rates = dict.fromkeys(self.optimizer_names, learning_rate)
        check_names("learning_rate", rates, f"optimizers of a {self.model_name}", self.players)
        for name, rate in rates.items():
            if isinstance(rate, bool) or not isinstance(rate, Real) or not 0.0 < rate < math.inf:
                msg = f"learning_rate={rate!r} of {name}: expected a number above 0, such as 1e-4."
                raise ValueError(msg)
            if given.get(name) is not None:
                msg = (
                    f"learning_rate={rate!r} is for the paper's optimizer, and {name} is given. "
                    "Give that optimizer the rate: keras.optimizers.Adam(1e-4)."
                )
                raise ValueError(msg)
        if isinstance(learning_rate, Mapping):
            return rates
        # The variable of several replicas is no number, as the configuration's is.
        paper = {name: self.default_optimizer(name).get_config()["learning_rate"] for name in rates}
        first = paper[self.optimizer_names[0]]
        return {name: rate * paper[name] / first for name, rate in rates.items()}

    def updates_a_step(self, optimizer_name: str) -> int:  # noqa: ARG002
        """How often the named optimizer updates its variables in one training step."""
        return 1

    @property
    def schedule(self) -> dict[str, Any]:
        """How the learning rates move: `schedule`, `warmup_steps` and `decay_steps`."""
        name = self.optimizer_names[0]
        rate = without_loss_scale(getattr(self, name)).get_config()["learning_rate"]
        return schedules.described(rate, self.updates_a_step(name))

    @property
    def decay_steps(self) -> int | None:
        """Training steps after which the learning rates are 0; None if they do not fall."""
        return self.schedule["decay_steps"]

    def _prepared(self, optimizer: Any) -> Any:
        """The optimizer, with loss scaling for float16, and told that its gradients are sums."""
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if self.dtype_policy.compute_dtype == "float16" and not scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        gradients_are_sums(optimizer)
        return optimizer

    # Keras restores the arguments of a `compile` like this one only through these two.

    def get_compile_config(self) -> dict[str, Any]:
        """Configuration of the optimizers and the step."""
        if not self.compiled:
            return {}
        optimizers = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in self.optimizer_names
        }
        return {
            **optimizers,
            "accumulate": self.accumulate,
            **({"remat": True} if self.remat else {}),
            "jit_compile": self.jit_compile,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says."""
        self.compile(
            **{
                name: keras.saving.deserialize_keras_object(value)
                if isinstance(value, dict)
                else value
                for name, value in config.items()
            }
        )


def _clip(optimizer: Any, clip_norm: float) -> None:
    """Gives an optimizer the largest norm of its gradient: Keras obeys but one way of clipping."""
    for name in ("clipnorm", "clipvalue"):
        value = getattr(optimizer, name)
        if value is not None:
            msg = f"clip_norm={clip_norm}, {name}={value} of an optimizer: expected one of them."
            raise ValueError(msg)
    optimizer.global_clipnorm = clip_norm


def _check_remat(remat: bool, jit_compile: Any) -> None:  # noqa: FBT001
    if remat and jit_compile:
        msg = (
            "remat=True with jit_compile=True: XLA would join the second computation of an "
            "activation with the first, and save nothing. Leave one of them out."
        )
        raise ValueError(msg)


def without_loss_scale(optimizer: Any) -> Any:
    """The optimizer that updates the weights: the one inside, where one scales losses for it."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _check_alone(given: Mapping[str, Any], **arguments: Any) -> None:
    """Refuses what says how to make optimizers, where optimizers are given."""
    names = [name for name, optimizer in given.items() if optimizer is not None]
    for argument, value in arguments.items():
        if names and value is not None:
            msg = (
                f"{argument}={value!r} is for optimizers that are not given, and {names[0]} is. "
                "Give that optimizer its own: keras.optimizers.AdamW(1e-4, weight_decay=0.01)."
            )
            raise ValueError(msg)


def _scheduled(
    optimizer: Any, shape: str, updates: int, warmup_steps: int, decay_steps: int | None
) -> Any:
    """The optimizer anew, with its learning rate on a schedule; `updates` are those per step."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        inner = optimizer.inner_optimizer
        optimizer.inner_optimizer = _scheduled(inner, shape, updates, warmup_steps, decay_steps)
        return optimizer
    rate = optimizer.get_config()["learning_rate"]
    scheduled = isinstance(rate, dict)
    if scheduled:
        msg = (
            f"decay_steps, warmup_steps: the learning rate of {optimizer.name} has a schedule "
            "already. Leave them out, or give the optimizer a number."
        )
        raise ValueError(msg)
    steps = None if decay_steps is None else decay_steps * updates
    schedule = schedules.RateSchedule(rate, shape, warmup_steps * updates, steps)
    return _with_rate(optimizer, schedule)


def _with_rate(optimizer: Any, rate: Any) -> Any:
    """The optimizer anew, at another learning rate or on a schedule."""
    return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": rate})
