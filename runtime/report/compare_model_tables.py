"""What `bylaw compare shift` and `order` found in models, as sections and as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.clustered import ClusteredEstimate
from bylaw.runtime.audit.comparison import PairedDifference, paired_difference
from bylaw.runtime.audit.order import ModelOrders
from bylaw.runtime.audit.shift import TOP, Answer, Place, Shift, beginning
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.report import figures
from bylaw.runtime.report.compare_tables import INTERVALS, gap, number, rate
from bylaw.runtime.report.price_page import Section
from bylaw.spec.errors import visible


@dataclass(frozen=True, slots=True)
class CrossPoint:
    """Cross-sampling at one threshold (nats). `replaced`: the share of places with the second model's law.

    By rule: `rates` of answers that break it, `changes` against the first model alone, paired by answer; None where
    fewer than two prompts have scored answers. `broken` by rule and answer, None where unscored; `owners` by answer.
    """

    threshold: float
    replaced: float
    rates: tuple[ClusteredEstimate | None, ...]
    changes: tuple[PairedDifference | None, ...]
    broken: tuple[tuple[bool | None, ...], ...]
    owners: tuple[int, ...]


def cross_point(
    threshold: float,
    replaced: float,
    broken: Sequence[Sequence[bool | None]],
    owners: Sequence[int],
    first: CrossPoint | None,
) -> CrossPoint:
    """Rates clustered by prompt, and their changes against the point `first` of the same answers."""
    rates: list[ClusteredEstimate | None] = []
    changes: list[PairedDifference | None] = []
    for place, found in enumerate(broken):
        known = [at for at, value in enumerate(found) if value is not None]
        names = [owners[at] for at in known]
        rates.append(clustered.rate([float(found[at] or 0) for at in known], names) if len(set(names)) > 1 else None)
        old = first.broken[place] if first is not None else (None,) * len(found)
        both = [at for at in known if old[at] is not None]
        names = [owners[at] for at in both]
        changes.append(
            paired_difference([float(found[at] or 0) for at in both], [float(old[at] or 0) for at in both], names)
            if len(set(names)) > 1
            else None
        )
    return CrossPoint(
        threshold, replaced, tuple(rates), tuple(changes), tuple(tuple(each) for each in broken), tuple(owners)
    )


def shift_sections(
    found: Shift, model: LanguageModel, names: tuple[str, str], answers: Sequence[Answer]
) -> tuple[Section, ...]:
    """The size of the shift, where in answers it lies, and its strongest places."""
    rows = [
        ("divergence (nats)", number(found.divergence.mean, found.divergence.interval)),
        *((f"places above {limit:g} nats", rate(part)) for limit, part in found.above),
        ("places with another likeliest token", rate(found.is_top_changed)),
        (f"mass of {names[1]} in the {TOP} likeliest of {names[0]}", rate(found.mass)),
        (f"entropy of {names[0]}, of {names[1]} (nats)", f"{found.first_entropy:.3g}, {found.second_entropy:.3g}"),
        *(
            (f"divergence in the strongest {figures.stated_percent(share)} of places", figures.percent(part))
            for share, part in found.carried
        ),
    ]
    size = Section(
        f"Where {names[1]} differs from {names[0]}",
        (f"At {figures.plural(found.places, 'place')} of {figures.plural(found.answers, 'answer')}.",
         *found.divergence.warnings),
        ("measure", "value"),
        tuple(rows),
        (f"Jensen-Shannon divergence of the next-token laws: 0 for equal models, at most 0.693. {INTERVALS}",),
    )  # fmt: skip
    profile = Section(
        "By place in the answer",
        (),
        ("tokens before", "divergence (nats)"),
        tuple(
            (f"{low}" if low == high else f"{low} to {high}", number(part.mean, part.interval))
            for low, high, part in found.profile
        ),
    )
    strongest = Section(
        "The strongest places",
        () if found.strongest else ("The two models give the same laws everywhere.",),
        ("nats", "after", names[0], names[1]) if found.strongest else (),
        tuple(
            (
                f"{each.divergence:.3g}",
                _shown(beginning(model, answers[each.row][0][: each.at])),
                _token(model, each.first_top, each.first_top_share),
                _token(model, each.second_top, each.second_top_share),
            )
            for each in found.strongest
        ),
    )
    return size, profile, strongest


def cross_sections(points: Sequence[CrossPoint], terms: Sequence[str], names: tuple[str, str]) -> tuple[Section, ...]:
    """How often rules are broken, by the share of places that the second model wrote."""
    rows = []
    for point in points:
        where = f"only {names[0]}" if point.threshold >= 1 else f"only {names[1]}" if point.threshold < 0 else (
            f"above {point.threshold:g} nats")  # fmt: skip
        for term, found, change in zip(terms, point.rates, point.changes, strict=True):
            rows.append((where, figures.percent(point.replaced), term, rate(found), gap(change)))
    note = (
        f"Read the whole curve: one threshold alone can mislead. {INTERVALS} The change is against {names[0]} alone, "
        "paired by answer: all are drawn with the same random numbers."
    )
    header = (f"{names[1]} writes", "places", "rule", "broken", "change")
    return (Section("Cross-sampling: how few places carry the difference", (), header, tuple(rows), (note,)),)


def shift_data(
    found: Shift, points: Sequence[CrossPoint], terms: Sequence[str], model: LanguageModel, answers: Sequence[Answer]
) -> dict[str, Any]:
    """As JSON values; the strongest places with their texts."""
    data = asdict(found)
    data["strongest"] = [_place(model, each, answers) for each in found.strongest]
    data["cross_sampling"] = [
        {
            "threshold": point.threshold,
            "replaced": point.replaced,
            "rules": [
                {
                    "term": term,
                    "broken": None if estimate is None else asdict(estimate),
                    "change": None if change is None else asdict(change),
                }
                for term, estimate, change in zip(terms, point.rates, point.changes, strict=True)
            ],
        }
        for point in points
    ]
    return data


def rule_orders_sections(found: Sequence[ModelOrders], orders: int, model: str) -> tuple[Section, ...]:
    """What the order of the rules does to answers. Raises ComparisonError for fewer than two prompts."""
    spread, divergence, changed = _estimates(found, orders)
    rows = (
        ("spread of log p(answer) over orders (nats)", number(spread.mean, spread.interval)),
        ("of the mean over orders (nats)", f"{spread.mean / math.sqrt(orders):.3g}"),
        ("what the order tells about the first token (nats)", number(divergence.mean, divergence.interval)),
        ("prompts whose likeliest first token depends on it", rate(changed)),
    )
    return (
        Section(
            f"What the order of the rules does to {model}",
            (f"{figures.plural(orders, 'order')}, {figures.plural(len(found), 'prompt')}.", *spread.warnings),
            ("measure", "mean over prompts"),
            rows,
            (f"A model that does not mind the order has 0 everywhere. {INTERVALS}",),
        ),
    )


def rule_orders_data(found: Sequence[ModelOrders], orders: Sequence[Sequence[int]]) -> dict[str, Any]:
    """As JSON values."""
    names = ("spread", "divergence", "top_changed")
    estimates = {name: asdict(value) for name, value in zip(names, _estimates(found, len(orders)), strict=True)}
    return {"orders": [list(each) for each in orders], **estimates, "prompts": [asdict(each) for each in found]}


def _estimates(
    found: Sequence[ModelOrders], orders: int
) -> tuple[ClusteredEstimate, ClusteredEstimate, ClusteredEstimate]:
    if len(found) < 2:
        raise ComparisonError(f"order sensitivity needs answers to two prompts at least, and there are {len(found)}")
    spreads = [each.spread for each in found]
    # the spread has no bound of its own; that of the largest gap seen keeps the interval of equal values from a point
    widest = max(max(each.log_probs) - min(each.log_probs) for each in found)
    bounds = (0.0, max(widest, math.ulp(1.0)))
    most = math.log(orders)
    return (
        clustered.mean(spreads, None, bounds=bounds),
        clustered.mean([min(each.divergence, most) for each in found], None, bounds=(0.0, most)),
        clustered.rate([float(each.is_top_changed) for each in found]),
    )


def _place(model: LanguageModel, place: Place, answers: Sequence[Answer]) -> dict[str, Any]:
    texts = {
        "after": beginning(model, answers[place.row][0][: place.at]),
        "first_token": _text(model, place.first_top),
        "second_token": _text(model, place.second_top),
    }
    return {**asdict(place), **texts}


def _text(model: LanguageModel, token: int) -> str:
    data = model.vocabulary.token_bytes[token]
    return "(end)" if token in model.vocabulary.eos_ids or data is None else data.decode("utf-8", "replace")


def _token(model: LanguageModel, token: int, share: float) -> str:
    return f"{_shown(_text(model, token))} ({figures.percent(share)})"


def _shown(text: str) -> str:
    return visible(text.replace("\n", "⏎")) or "(beginning)"
