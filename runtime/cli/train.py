"""`bylaw train`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli import INTERRUPTED
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.sampling import Bars, ModelChoice, calibration_or_exit, law_options, prompts_or_exit, refusals
from bylaw.runtime.cli.shared import GATE_FAILED, LEFT_OUT, POLICY_ERROR, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.calibration.problem import Multipliers
    from bylaw.runtime.models.huggingface import HuggingFaceModel
    from bylaw.runtime.training.settings import TrainSettings
    from bylaw.runtime.training.train import TrainResult
    from bylaw.spec.trace import Trace


def _list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from bylaw.runtime.objectives import catalog

    for name in catalog.names():
        kind = catalog.kind(name)
        options = ", ".join(f"{key}={value}" for key, value in vars(kind.Settings()).items())
        click.echo(f"{name:14} reaches {kind.OPTIMUM}\n{'':14} options: {options or 'none'}")
    context.exit()


_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command("train")
@click.argument("rules", type=PolicyPath())
@law_options
@click.option("--objective", default="distill", show_default=True, help="What to minimise; see --objectives.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the objective; repeatable."
)
@click.option(
    "--objectives", is_flag=True, is_eager=True, expose_value=False, callback=_list,
    help="List the objectives with their options, and end; needs no RULES.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(), default="bylaw-training", show_default=True,
    help="Folder for the model, metrics.jsonl, train.json and checkpoints; the same command goes on with it.",
)  # fmt: skip
@click.option("--held-out", type=click.Path(), help="Prompts to measure on. Default: --prompts, sampled anew.")
@click.option("--data", type=click.Path(), help="A data set (JSON Lines) for objectives that learn from one.")
@click.option(
    "--rows", type=click.Choice(["law", "policy", "data"]),
    help="Who writes what is learnt from: the regulated decoder, the policy itself, or --data. Default: as it fits.",
)  # fmt: skip
@click.option("--calibration", type=click.Path(), help="Start limits from what `bylaw calibrate` solved, not from 0.")
@click.option("--ascent", type=_POSITIVE, help="Move multipliers of limits by dual ascent, in steps of this size.")
@click.option("--rounds", default=4, show_default=True, type=click.IntRange(1), help="Rounds of writing and learning.")
@click.option("--samples", default=16, show_default=True, type=click.IntRange(1), help="Answers a prompt and round.")
@click.option("--epochs", default=1, show_default=True, type=click.IntRange(1), help="Passes over a round's answers.")
@click.option("--redraw", default=1, show_default=True, type=click.IntRange(1), help="Rounds with the same answers.")
@click.option("--prompts-per-round", type=click.IntRange(1), help="Prompts of a round. Default: all.")
@click.option(
    "--prompts-per-step", default=8, show_default=True, type=click.IntRange(1),
    help="Prompts, with all their answers, to a step of the optimiser.",
)  # fmt: skip
@click.option(
    "--micro-rows", default=32, show_default=True, type=click.IntRange(1),
    help="Answers that go through the network at once; gradients of more are accumulated.",
)  # fmt: skip
@click.option("--learning-rate", default=1e-4, show_default=True, type=_POSITIVE, help="The peak learning rate.")
@click.option("--warm-up", default=10, show_default=True, type=click.IntRange(0), help="Steps until it is reached.")
@click.option("--schedule", default="linear", show_default=True, type=click.Choice(["constant", "linear", "cosine"]))
@click.option("--weight-decay", default=0.0, show_default=True, type=click.FloatRange(0), help="Decay of matrices.")
@click.option("--clip", default=1.0, show_default=True, type=_POSITIVE, help="Largest norm of a gradient.")
@click.option("--lora-rank", type=click.IntRange(1), help="Train adapters of this rank instead of all weights.")
@click.option("--lora-alpha", default=16.0, show_default=True, type=_POSITIVE, help="Their scale is alpha / rank.")
@click.option("--precision", default="fp32", show_default=True, type=click.Choice(["fp32", "bf16"]))
@click.option("--eval-prompts", default=16, show_default=True, type=click.IntRange(1), help="Prompts to measure on.")
@click.option("--eval-samples", default=16, show_default=True, type=click.IntRange(2), help="Answers to each of them.")
@click.option("--law-samples", default=32, show_default=True, type=click.IntRange(2), help="Draws of the law for each.")
@click.option("--eval-every", default=1, show_default=True, type=click.IntRange(0), help="Rounds between; 0: the ends.")
@click.option("--max-kl", type=_POSITIVE, help="Stop where KL to the base model goes beyond so many nats.")
@click.option("--distance", type=_POSITIVE, help="Stop where KL from the law is at most so many nats.")
@click.option("--checkpoint-every", default=50, show_default=True, type=click.IntRange(1), help="Steps between them.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Makes a run repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements before and after as JSON.")
def command(
    rules: str, model: str | None, allow_download: bool, prompts: str | None, held_out: str | None, data: str | None,
    calibration: str | None, out: str, as_json: bool, temperature: float, **chosen: Any,
) -> None:  # fmt: skip
    """Train a model towards the law of the policy RULES.

    The law is that of `bylaw generate`: the base model under the rules. `distill` learns from weighted samples of the
    regulated decoder and comes nearest in few samples; policy gradients need `--option hard_penalty=NATS` for hard
    rules. What comes out is measured against the law itself, on answers that were not learnt from.

        bylaw train rules.bylaw --objective distill --prompts prompts.jsonl --learning-rate 3e-4 --out trained

    OUT/model loads as --model anywhere. Ctrl-C keeps what is done: the same command goes on from the last checkpoint
    and ends with the same weights.

    Lines of --data: {"prompt": P, "completion": C}, {"prompt": P, "chosen": C, "rejected": C}, or with "label": true
    or false, where P is a text or a list of messages.

    Exit codes: 0 trained, 1 the policy cannot be enforced, 2 wrong usage or unusable input, 3 a part of the prompts
    could not be read, 4 trained, but the guard finds the result suspicious, 130 interrupted.
    """
    compiled = compile_or_exit(rules)
    read, name, _ = prompts_or_exit(compiled, prompts, Path(rules).parent / "prompts.jsonl")
    kept = prompts_or_exit(compiled, held_out, Path(held_out))[0] if held_out is not None else None
    _warn(read, kept)
    if not read.traces:
        fail(f"there are no prompts in `{name}`", UNUSABLE)
    with _refused(compiled), _interruptible(out):
        from bylaw.runtime.training.dataset import read_examples
        from bylaw.runtime.training.processes import started
        from bylaw.runtime.training.train import train_policy

        settings = _settings(temperature, chosen)
        base = ModelChoice(model, allow_download).load(temperature)
        with Bars(as_json) as bars:
            result = train_policy(
                compiled.require(), read.traces, base, settings, out, bars,
                held_out=() if kept is None else kept.traces,
                data=() if data is None else read_examples(data),
                multipliers=_multipliers(calibration, compiled, base, settings, read.traces),
                processes=started(),
            )  # fmt: skip
        _show(result, as_json)
    left_out = bool(read.problems) or bool(kept is not None and kept.problems)
    raise SystemExit(GATE_FAILED if result.suspicious else LEFT_OUT if left_out else 0)


def _warn(*files: Transcripts | None) -> None:
    for read in files:
        for problem in () if read is None else read.problems:
            click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)


def _settings(temperature: float, chosen: Mapping[str, Any]) -> TrainSettings:
    """The settings as they were typed. Raises TrainingError, ObjectiveError."""
    from bylaw.runtime.training.errors import TrainingError
    from bylaw.runtime.training.settings import Bounds, Evaluation, Lora, Optimiser, TrainSettings, objective_of

    options = []
    for option in chosen["options"]:
        name, equals, value = option.partition("=")
        if not equals:
            raise TrainingError(f"`{option}` is no option: write NAME=VALUE")
        options.append((name.strip().replace("-", "_"), value.strip()))
    same = (
        "objective", "rows", "rounds", "samples", "epochs", "redraw", "prompts_per_round", "prompts_per_step",
        "micro_rows", "max_tokens", "seed", "precision", "ascent", "checkpoint_every",
    )  # fmt: skip
    settings = TrainSettings(
        **{name: chosen[name] for name in same},
        options=tuple(options),
        temperature=temperature,
        lora=None if chosen["lora_rank"] is None else Lora(chosen["lora_rank"], chosen["lora_alpha"]),
        optimiser=Optimiser(
            chosen["learning_rate"], chosen["warm_up"], chosen["schedule"], chosen["weight_decay"], clip=chosen["clip"]
        ),
        evaluation=Evaluation(
            chosen["eval_prompts"], chosen["eval_samples"], chosen["law_samples"], chosen["eval_every"]
        ),
        bounds=Bounds(chosen["max_kl"], chosen["distance"]),
    )
    objective_of(settings)
    return settings


def _multipliers(
    calibration: str | None,
    compiled: Compiled,
    model: HuggingFaceModel,
    settings: TrainSettings,
    prompts: tuple[Trace, ...],
) -> Multipliers | None:
    if calibration is None:
        return None
    from bylaw.runtime.calibration.record import StaleRecord, require_current
    from bylaw.runtime.generation.entry import multipliers_for

    record = calibration_or_exit(calibration)
    same = {"temperature": settings.temperature, "max_tokens": settings.max_tokens}
    try:
        require_current(record, compiled.require(), model, settings=same)
    except StaleRecord as error:
        fail(str(error), UNUSABLE)
    return multipliers_for(record, prompts)


@contextmanager
def _refused(compiled: Compiled) -> Iterator[None]:
    """Each way in which training can turn out impossible is one message and an exit."""
    try:
        from bylaw.runtime.objectives.errors import ObjectiveError
        from bylaw.runtime.training.errors import NothingToLearn, TrainingError
    except ImportError as error:
        fail(f"training needs the extra `train` ({error.name} is missing)", UNUSABLE)
    with refusals(compiled):
        try:
            yield
        except NothingToLearn as error:
            fail(str(error), POLICY_ERROR)
        except (TrainingError, ObjectiveError) as error:
            fail(str(error), UNUSABLE)


@contextmanager
def _interruptible(out: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted; the last checkpoint is in `{out}`, and the same command goes on from it", err=True)
        raise SystemExit(INTERRUPTED) from None


def _show(result: TrainResult, as_json: bool) -> None:
    """What came of it: a table before and after, distances, and what is suspicious."""
    for remark in result.remarks:
        click.echo(f"note: {remark}", err=True)
    if result.stopped is not None:
        click.echo(f"note: ended early: {result.stopped}", err=True)
    if as_json:
        told = {"before": result.base, "after": result.last, "stopped": result.stopped, "steps": result.position.step}
        click.echo(json.dumps(told))
    else:
        _table(result)
    for found in result.suspicious:
        click.echo(f"warning: suspicious: {found}", err=True)
    click.echo(f"wrote {result.model} ({result.position.step} steps, {result.seconds:.0f} s)", err=True)


def _table(result: TrainResult) -> None:
    from rich.table import Table

    from bylaw.runtime.report.terminal import standard_output

    table = Table(title="on answers that were not learnt from", title_justify="left")
    for head in ("rule", "before", "after", "law"):
        table.add_column(head, justify="left" if head == "rule" else "right")
    for name, rule in result.last["rules"].items():
        before = result.base["rules"][name]
        table.add_row(name, *(_rate(each, rule["kind"]) for each in (before, rule)), _number(rule["law"], rule["kind"]))
    broken = "any_hard_rule_broken"
    table.add_row("any hard rule", *(_rate(each[broken], "hard") for each in (result.base, result.last)), "0.00 %")
    for key, head in (
        ("kl_from_law", "KL(law‖model), nats"),
        ("kl_to_law_where_allowed", "KL(model, where allowed‖law), nats"),
        ("kl_to_base", "KL(model‖base), nats"),
    ):
        table.add_row(head, *(_nats(each[key]) for each in (result.base, result.last)), "")
    console = standard_output()
    console.print(table)


def _rate(found: Mapping[str, Any], kind: str) -> str:
    if found["rate"] is None:
        return "no answer"
    low, high = found["low"], found["high"]
    bounds = "" if low is None else f" ({_number(low, kind)} to {_number(high, kind)})"
    return _number(found["rate"], kind) + bounds


def _number(value: float | None, kind: str) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if kind in ("graded", "budget") else f"{100 * value:.2f} %"


def _nats(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "infinite or unknown"
    return f"{found['value']:.3f} ± {1.96 * (found['error'] or 0.0):.3f}"
