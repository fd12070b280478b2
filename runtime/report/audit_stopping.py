"""An audit that stopped by itself, and planted violations: the sentence and the table of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bylaw.runtime.interval import Interval
from bylaw.runtime.power_record import PlantedPower
from bylaw.runtime.report.figures import NOTHING, percent, percent_interval, plural, quantity, stated_percent, whole
from bylaw.runtime.report.text import one_line
from bylaw.runtime.stopping_record import LimitStopping, StoppingRecord

STOPPING_TITLE = "Stopped as soon as decided"
STOPPING_HEADINGS = ("rule", "limit", "decision", "after prompts", "mean of prompts", "interval at every look", "error")
POWER_TITLE = "Would this audit notice?"
POWER_HEADINGS = (
    "rule", "planted (nats)", "rate here", "rate planted", "found", "power", "found without", "predicted",
)  # fmt: skip
_METHODS = {
    "benjamini-hochberg": "Benjamini and Hochberg",
    "benjamini-yekutieli": "Benjamini and Yekutieli",
    "holm": "Holm",
}


# ------------------------------------------------------------------------------------------------------------ stopping
def stopping_sentence(found: StoppingRecord) -> str:
    """What the reading came to, in one or two sentences."""
    read = f"{whole(found.read)} of {plural(found.prompts, 'prompt')}"
    ends = {
        "decided": f"Every limit that could be followed was decided after {read}.",
        "budget": f"The budget of {plural(found.budget or 0, 'prompt')} ended the reading after {read}.",
        "read through": f"All {plural(found.prompts, 'prompt')} were read.",
        "interrupted": f"The reading was interrupted after {read}.",
    }
    counts = [(state, sum(each.state == state for each in found.limits)) for state in _STATES]
    told = ", ".join(f"{whole(number)} {state}" for state, number in counts if number)
    return f"{ends[found.ended]} {told.capitalize()}."


_STATES = ("broken", "undecided", "not followed", "kept")


def stopping_note(found: StoppingRecord) -> str:
    """How sure the decisions are, and what must not be read into the other figures."""
    return (
        f"The order of the prompts was random, fixed beforehand by seed {found.seed} (order {found.order}). However "
        f"often one looks, in at most {stated_percent(found.error)} of such audits any limit is wrongly said to be "
        "kept, and in as many any is wrongly said to be broken: the error is shared by Holm's steps. Each prompt "
        "counts once. Rates and intervals elsewhere in this report are those of a size fixed beforehand: after "
        "stopping they do not hold."
    )


def stopping_rows(found: StoppingRecord) -> list[tuple[str, ...]]:
    """One row a limit or hard rule under `STOPPING_HEADINGS`, what is broken or open first."""
    ordered = sorted(found.limits, key=lambda each: _STATES.index(each.state))
    return [_stopping_row(each) for each in ordered]


def _stopping_row(each: LimitStopping) -> tuple[str, ...]:
    is_share = 0 <= each.limit <= 1 and (each.interval is None or each.interval.high <= 1)
    write, bounds = (percent, percent_interval) if is_share else (quantity, _quantities)
    unscored = f" ({plural(each.unscored, 'prompt')} with unscored answers)" if each.unscored else ""
    return (
        one_line(each.term),
        f"{each.sense} " + (stated_percent(each.limit) if is_share else f"{each.limit:g}"),
        each.state if each.why is None else f"{each.state}: {each.why}",
        f"not within {whole(each.values)}" if each.state == "undecided" else _or(each.decided_at, whole),
        _or(each.mean, write) + unscored,
        NOTHING if each.interval is None else bounds(each.interval),
        _or(each.error, percent),
    )


def _quantities(interval: Interval) -> str:
    return f"{quantity(interval.low)} to {quantity(interval.high)}"


# --------------------------------------------------------------------------------------------------------------- power
def power_sentence(found: Sequence[PlantedPower]) -> str:
    """Whether planted violations are found as often as was asked for."""
    weak = [each for each in found if not each.is_enough]
    asked = stated_percent(found[0].least)
    if not weak:
        return f"Planted violations of {_named(found)} are found in at least {asked} of audits such as this one."
    return (
        f"Planted violations of {_named(weak)} are not known to be found in at least {asked} of audits such as this "
        "one: take more answers, or plant a larger multiplier."
    )


def power_note(found: Sequence[PlantedPower]) -> str:
    """What was drawn and how it was tested."""
    first = found[0]
    spare = [each.term for each in found if not each.is_own_limit]
    own = f" {', '.join(f'`{term}`' for term in spare)}: no limit, held against the rate here." if spare else ""
    return (
        f"Each figure is from {plural(first.runs, 'audit')} of {plural(first.samples, 'answer')} drawn from those at "
        "hand with the weight exp(multiplier) where the rule is broken, and as many drawn without (found without: "
        f"false alarms, where the rate here keeps to the limit). Found: p-values of all rules adjusted by "
        f"{_METHODS.get(first.method, first.method)} at {stated_percent(first.level)}. Intervals are 95%, exact. "
        f"A prompt with several answers that all keep the rule stays as it is.{own}"
    )


def power_rows(found: Sequence[PlantedPower]) -> list[tuple[str, ...]]:
    """One row a planted rule under `POWER_HEADINGS`."""
    return [
        (
            one_line(each.term),
            f"{each.multiplier:g}",
            _rate(each.rate),
            _rate(each.planted_rate),
            f"{whole(each.found)} of {whole(each.runs)}",
            f"{percent(each.power)} ({percent_interval(each.interval)})",
            f"{percent(each.untilted_rate)} ({percent_interval(each.untilted_interval)})",
            NOTHING
            if each.predicted is None
            else percent(each.predicted) if each.is_exact else f"at least {percent(each.predicted)}",
        )
        for each in found
    ]  # fmt: skip


def _rate(value: float) -> str:
    return percent(value) if 0 <= value <= 1 else quantity(value)


def _named(found: Sequence[PlantedPower]) -> str:
    return ", ".join(f"`{one_line(each.term)}`" for each in found)


def _or(value: float | None, write: Callable[[float], str]) -> str:
    return NOTHING if value is None else write(value)
