"""A training run from a policy, a model and prompts to a folder: model, metrics, checkpoints, and what made them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bylaw
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration.problem import Multipliers
from bylaw.runtime.calibration.record import prompts_digest
from bylaw.runtime.calibration.sample_store import digest_of
from bylaw.runtime.enforcement import Stages
from bylaw.runtime.generation.prepare import PrepareSettings, prepare
from bylaw.runtime.models.huggingface import HuggingFaceModel
from bylaw.runtime.training import checkpoint
from bylaw.runtime.training.checkpoint import Position
from bylaw.runtime.training.dataset import Example, from_examples
from bylaw.runtime.training.errors import CheckpointError, NothingToLearn, TrainingError
from bylaw.runtime.training.law import Climb, LawSource
from bylaw.runtime.training.loop import Job, Trainer
from bylaw.runtime.training.network import PolicyNetwork, merged
from bylaw.runtime.training.processes import Processes
from bylaw.runtime.training.settings import RowSource, TrainSettings, objective_of
from bylaw.spec.trace import Trace

FORMAT = "bylaw training run 1"
RUN = "train.json"


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A finished run. `base` and `last` are evaluations as in metrics.jsonl, `suspicious` what the guard says of the
    last, `stopped` why it ended early, `seconds` what this call took; `went_on`: from a checkpoint."""

    folder: Path
    model: Path
    position: Position
    base: Mapping[str, Any]
    last: Mapping[str, Any]
    suspicious: tuple[str, ...]
    stopped: str | None
    remarks: tuple[str, ...]
    seconds: float
    went_on: bool


def train_policy(
    program: RewardProgram,
    prompts: Sequence[Trace],
    model: HuggingFaceModel,
    settings: TrainSettings,
    out: str | Path,
    stages: Stages,
    *,
    held_out: Sequence[Trace] = (),
    data: Sequence[Example] = (),
    multipliers: Multipliers | None = None,
    processes: Processes | None = None,
) -> TrainResult:
    """Trains `model` (which is not changed, but for adapters) towards the law of `program`, into the folder `out`.

    `prompts` are learnt from, `held_out` measured on (none: the same prompts, with samples of their own). `data`: rows
    for objectives that learn from a data set; the prompts are then measured on only. A policy with limits starts from
    `multipliers`, 0 without them. A run that was interrupted is gone on with by the same call.

    Raises TrainingError, ObjectiveError, EnforcementError, Infeasible, DecodeError, ModelError, TwistError.
    """
    began, together = time.monotonic(), processes or Processes()
    objective, source = objective_of(settings)
    if settings.temperature != model.temperature:
        raise TrainingError("the temperature of the settings and that of the model differ")
    folder = Path(out)
    start = {term.id: 0.0 for term in program.terms if term.kind == "budget"}
    start |= {} if multipliers is None else multipliers.common
    traces = _traces(settings, source, prompts, held_out, data)
    described = _described(program, model, settings, prompts, held_out, data, start, multipliers)
    identity = _claimed(folder, digest_of(described), together)
    network = PolicyNetwork(model, settings.lora, settings.precision, settings.seed)
    known = Multipliers(start, () if multipliers is None else multipliers.own)
    asked, base = PrepareSettings(settings.max_tokens, settings.temperature), network.reference()
    prepared = prepare(program, traces, base, asked, stages, known)
    learnt = 0 if source == "data" else len(prompts)
    job = Job(
        settings,
        objective,
        source,
        LawSource(prepared, base, settings.max_tokens),
        Climb.of(program, prepared.plans, start, settings),
        tuple(range(learnt)),
        _spread(range(learnt if held_out else 0, len(traces)), settings.evaluation.prompts),
        folder,
        identity,
        start,
        from_examples(data, program, model, settings.max_tokens) if source == "data" else None,
    )
    trainer = Trainer(job, network, together, stages)
    went_on = trainer.position.base is not None
    position = trainer.run()
    if together.is_first:
        _write_model(network, folder)
        _write_run(folder, identity, described, position)
    together.wait()
    remarks, seconds = (*trainer.remarks, *prepared.remarks), time.monotonic() - began
    return _result(folder, position, remarks, seconds, went_on)


def _result(folder: Path, position: Position, remarks: tuple[str, ...], seconds: float, went_on: bool) -> TrainResult:
    base, last = position.base or {}, position.last or {}
    suspicious, model = tuple(last["suspicious"]), folder / "model"
    return TrainResult(folder, model, position, base, last, suspicious, position.stopped, remarks, seconds, went_on)


def _traces(
    settings: TrainSettings,
    source: RowSource,
    prompts: Sequence[Trace],
    held_out: Sequence[Trace],
    data: Sequence[Example],
) -> list[Trace]:
    """The prompts that the law is needed for: those that are learnt from, then those to measure on."""
    if source == "data" and not data:
        raise NothingToLearn(f"`{settings.objective}` learns from a data set: give one with --data")
    if source != "data":
        found = [*prompts, *held_out]
    else:
        found = list(held_out) or list(prompts) or list({example.trace: None for example in data})
    if not found:
        raise NothingToLearn("there are no prompts to learn from")
    return found


def _described(
    program: RewardProgram,
    model: HuggingFaceModel,
    settings: TrainSettings,
    prompts: Sequence[Trace],
    held_out: Sequence[Trace],
    data: Sequence[Example],
    start: Mapping[str, float],
    multipliers: Multipliers | None,
) -> dict[str, Any]:
    """What a run depends on, as JSON values."""
    return {
        "policy": {"name": program.policy, "version": program.version, "digest": program.digest},
        "model": {"name": model.name, "digest": model.digest},
        "prompts": {"digest": prompts_digest(prompts), "number": len(prompts)},
        "held_out": {"digest": prompts_digest(held_out), "number": len(held_out)},
        "data": {"digest": digest_of([[each.answers, str(each.trace)] for each in data]), "number": len(data)},
        "multipliers": dict(start),
        "own_multipliers": [list(map(list, own)) for own in (() if multipliers is None else multipliers.own)],
        "settings": settings.identity(),
    }


def _claimed(folder: Path, identity: str, together: Processes) -> str:
    """`identity`, once the folder is known to hold this run. Raises CheckpointError."""
    if together.is_first:
        _claim(folder, identity)
    together.wait()
    return identity


def _claim(folder: Path, identity: str) -> None:
    """Makes sure that the folder can hold this run. Raises CheckpointError."""
    claim = folder / "run.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if claim.exists():
            known = json.loads(claim.read_text(encoding="utf-8"))
            if known != {"format": FORMAT, "identity": identity}:
                raise CheckpointError(
                    f"`{folder}` holds another run: its policy, model, prompts or settings were others; choose another "
                    "folder with --out, or remove this one to begin again"
                )
        elif any(path for path in folder.iterdir() if not path.name.startswith(".")):
            raise CheckpointError(f"`{folder}` holds other files; choose an empty folder with --out")
        else:
            _whole(claim, json.dumps({"format": FORMAT, "identity": identity}) + "\n")
        checkpoint.sweep(folder / "checkpoints")
    except OSError as error:
        raise CheckpointError(
            f"`{folder}` cannot be written: {(error.strerror or str(error)).lower()}; choose another folder with --out"
        ) from None
    except ValueError:
        raise CheckpointError(f"`{claim}` is damaged; remove `{folder}` to begin again") from None


def _write_model(network: PolicyNetwork, folder: Path) -> None:
    """The trained model with its tokenizer, whole or not at all; adapters are added to the weights, and kept apart."""
    beside, final = folder / f".model.{os.getpid()}.part", folder / "model"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        with _without_bars():
            merged(network).save_pretrained(str(beside), safe_serialization=True)
        network.base.tokenizer.save_pretrained(str(beside))
        if final.exists():
            shutil.rmtree(final)
        os.replace(beside, final)
        if hasattr(network.module, "merge_and_unload"):
            network.module.save_pretrained(str(folder / "adapter"), safe_serialization=True)
    except OSError as error:
        raise CheckpointError(
            f"the model could not be written to `{final}`: {(error.strerror or str(error)).lower()}; the last "
            "checkpoint is kept, and the same command ends the run from there"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _without_bars() -> Iterator[None]:
    """A model of this size is written before a bar could be read."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _write_run(folder: Path, identity: str, described: Mapping[str, Any], position: Position) -> None:
    found = {
        "format": FORMAT,
        "identity": identity,
        "versions": {"bylaw": bylaw.__version__, **_versions()},
        **described,
        "steps": position.step,
        "rounds": position.round,
        "passes": position.passes,
        "final_multipliers": dict(position.multipliers or {}),
        "stopped": position.stopped,
        "suspicious": list((position.last or {})["suspicious"]),
        "before": position.base,
        "after": position.last,
    }
    try:
        _whole(folder / RUN, json.dumps(found, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise CheckpointError(f"`{folder / RUN}` cannot be written: {(error.strerror or str(error)).lower()}") from None


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", "transformers", "numpy", "peft", "accelerate"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _whole(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _spread(places: range, most: int) -> tuple[int, ...]:
    """At most `most` of the places, evenly spread."""
    if len(places) <= most:
        return tuple(places)
    return tuple(places[at * len(places) // most] for at in range(most))
