"""What `bylaw audit` does with `--stop` and `--power`: options, the reading that stops by itself, the planted rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.law import Share
from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.cli.audit_steps import Measured
    from bylaw.runtime.scorers.asking import ScoringRecord
    from bylaw.runtime.scorers.build import Scorers
    from bylaw.runtime.stopping_record import StoppingRecord
    from bylaw.spec.trace import Trace

BATCH = 20
"""Prompts whose answers scorers are asked about together; without scorers one is looked at after the other."""
_HARD, _RUNS, _LEAST = 0.01, 400, 0.8


@dataclass(frozen=True, slots=True)
class Stopping:
    """What the command line says of stopping. `budget`: the most prompts; `ranges`: of quantities, by rule."""

    budget: int | None = None
    seed: int = 0
    hard: float = _HARD
    ranges: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Power:
    """Planted violations as the command line says it: (rule, multiplier in nats) each."""

    planted: tuple[tuple[str, float], ...] = ()
    runs: int = _RUNS
    least: float = _LEAST
    seed: int = 0

    @property
    def is_asked_for(self) -> bool:
        """Whether any rule is planted."""
        return bool(self.planted)


def _ranges(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(_range(text, context, option) for text in given)


def _range(text: str, context: click.Context, option: click.Parameter) -> tuple[str, float, float]:
    rule, equals, rest = text.rpartition("=")
    low, dots, high = rest.partition("..")
    try:
        found = (rule, float(low), float(high)) if equals and dots and rule else None
    except ValueError:
        found = None
    if found is None or not (math.isfinite(found[1]) and math.isfinite(found[2]) and found[1] < found[2]):
        raise click.BadParameter(f"`{text}`: write it as RULE=LOWEST..HIGHEST, as in words=0..500", context, option)
    return found


def _planted(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[Any, ...]:
    found = []
    for text in given:
        rule, _, number = text.rpartition("=")
        try:
            multiplier = float(number)
        except ValueError:
            multiplier = math.nan
        if not rule or not 0 < multiplier <= 100:
            raise click.BadParameter(
                f"`{text}`: write it as RULE=MULTIPLIER with a multiplier in nats, above 0 and at most 100, as in "
                "no_advice=1.5",
                context,
                option,
            )
        found.append((rule, multiplier))
    return tuple(found)


_STOPPING = (
    click.option(
        "--stop", "is_stopping", is_flag=True,
        help="Read prompts in a random order until every limit and hard rule is decided; ask scorers for no more.",
    ),
    click.option("--budget", metavar="N", type=click.IntRange(1), help="With --stop: the most prompts that are read."),
    click.option(
        "--seed", "stop_seed", type=click.IntRange(0), help="With --stop: fixes the order of the prompts.  [default: 0]"
    ),
    click.option(
        "--stop-hard", type=Share(),
        help="With --stop: a hard rule is kept once it is shown to be broken in less than this.  [default: 1%]",
    ),
    click.option(
        "--stop-range", "stop_ranges", multiple=True, metavar="RULE=LOW..HIGH", callback=_ranges,
        help="With --stop: the least and the largest value that the quantity of a limit can have; repeatable.",
    ),
)  # fmt: skip
_POWER = (
    click.option(
        "--power", "planted", multiple=True, metavar="RULE=MULTIPLIER", callback=_planted,
        help="Plant violations of a rule, by a multiplier in nats, and say how often this audit finds it; repeatable.",
    ),
    click.option(
        "--power-runs", type=click.IntRange(20, 100_000),
        help="With --power: audits of planted answers.  [default: 400]",
    ),
    click.option(
        "--power-least", type=Share(),
        help="With --power: how often they have to be found, for --gate.  [default: 80%]",
    ),
)  # fmt: skip


def stopping_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `--stop`; the command gets them as one argument `stopping`, None where it is not given."""

    @wraps(command)
    def with_stopping(*arguments: Any, **options: Any) -> Any:
        names = ("budget", "stop_seed", "stop_hard", "stop_ranges")
        is_asked_for, given = options.pop("is_stopping"), {name: options.pop(name) for name in names}
        if not is_asked_for:
            for name in (name for name, value in given.items() if value not in (None, ())):
                flag = {"stop_seed": "--seed", "stop_ranges": "--stop-range"}.get(name, "--" + name.replace("_", "-"))
                raise click.UsageError(f"{flag} is of use with --stop only")
        hard = _HARD if given["stop_hard"] is None else given["stop_hard"]
        if not 0 < hard < 1:
            raise click.UsageError("--stop-hard lies between 0% and 100%, both excluded: no sample shows a rate of 0")
        found = Stopping(given["budget"], given["stop_seed"] or 0, hard, given["stop_ranges"]) if is_asked_for else None
        return command(*arguments, stopping=found, **options)

    return _with(with_stopping, _STOPPING)


def power_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `--power`; the command gets them as one argument `power`."""

    @wraps(command)
    def with_power(*arguments: Any, **options: Any) -> Any:
        planted, runs, least = (options.pop(name) for name in ("planted", "power_runs", "power_least"))
        if not planted and (runs is not None or least is not None):
            raise click.UsageError("--power-runs and --power-least are of use with --power only")
        found = Power(planted, runs or _RUNS, _LEAST if least is None else least)
        return command(*arguments, power=found, **options)

    return _with(with_power, _POWER)


def _with(command: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    wrapped = command
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def require_fixed_size(
    stopping: Stopping | None,
    power: Power,
    sheets: object,
    engine: object,
    baseline: object,
    against: object,
    calibration: object,
) -> None:
    """Raises click.UsageError where something is asked for with --stop that holds for a size fixed beforehand only."""
    if stopping is None:
        return
    others = {
        "--label-sheet": sheets,
        "--engine": engine,
        "--baseline": baseline,
        "--against": against,
        "--calibration": calibration,
        "--power": power.planted,
    }
    given = [flag for flag, value in others.items() if value]
    if given:
        raise click.UsageError(f"--stop and {given[0]} do not go together: audit all answers for {given[0]}")


# ------------------------------------------------------------------------------------------------------------ stopping
def stop_or_exit(
    program: RewardProgram, scorers: Scorers, traces: Sequence[Trace], stopping: Stopping
) -> tuple[tuple[Trace, ...], ScoringRecord | None, StoppingRecord]:
    """The traces that were read, with what scorers say of them, in the order of the file; what was said of scores; and
    how the reading ended. What cannot be followed is one message and exit code 2."""
    from bylaw.runtime.audit.followed import StoppingError, StoppingSettings
    from bylaw.runtime.audit.stopping import stop_early
    from bylaw.runtime.cli.sampling import Bars
    from bylaw.runtime.cli.scoring import announce, require_other_judges, say_scores, scoring_refused
    from bylaw.runtime.scorers.asking import Asker, ask_about, terms_evaluated

    require_other_judges(scorers, traces)
    asker = Asker.of(program, scorers) if scorers.by_concept else None
    settings = StoppingSettings(
        stopping.seed, stopping.budget, 1 if asker is None else BATCH, hard_limit=stopping.hard, ranges=stopping.ranges
    )
    evaluate = terms_evaluated(program)
    try:
        with scoring_refused(), Bars(is_quiet=True) as bars:
            bars.stage("prompts, until decided", stopping.budget or len(traces))
            if asker is None:
                stopped = stop_early(program, traces, settings, progress=bars.progress)
            else:
                announce(f"scorers are asked about {BATCH} prompts at a time, until every limit is decided")
                stopped = stop_early(
                    program, traces, settings,
                    lambda batch: ask_about(asker, batch, evaluate, is_last=False),
                    lambda batch: ask_about(asker, batch, evaluate), bars.progress,
                )  # fmt: skip
    except StoppingError as error:
        fail(str(error), UNUSABLE)
    record = None if asker is None else asker.record()
    if record is not None:
        say_scores(record)
    return stopped.traces, record, stopped.record


# --------------------------------------------------------------------------------------------------------------- power
def finished(measured: Measured, power: Power) -> Measured:
    """The audit without the tests that stopping makes void, and with the planted violations that were asked for; a rule
    that cannot be planted is one message and exit code 2."""
    record = measured.record
    if record.stopping is not None:
        record = replace(record, tests=None)
    if not power.is_asked_for:
        return replace(measured, record=record)
    from bylaw.runtime.audit.power import PowerError, planted_power
    from bylaw.runtime.audit.rules_together import METHODS
    from bylaw.runtime.cli.sampling import Bars

    method = next((each for each in METHODS.values() if record.tests and record.tests.method == each), METHODS["bh"])
    found = []
    try:
        with Bars(is_quiet=True) as bars:
            for rule, multiplier in power.planted:
                bars.stage(f"planting {rule}", 2 * power.runs)
                each = planted_power(
                    measured.columns, rule, multiplier, runs=power.runs, seed=power.seed, least=power.least,
                    method=method, progress=bars.progress,
                )  # fmt: skip
                found.append(each)
    except PowerError as error:
        fail(str(error), UNUSABLE)
    return replace(measured, record=replace(record, power=tuple(found)))
