"""The plan of an audit as sections for a terminal and Markdown, as JSON, and as a plot of power."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bylaw.runtime.audit import planning
from bylaw.runtime.audit.policy_plan import PolicyPlan, RulePlan
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import writable
from bylaw.runtime.report.figures import NOTHING, percent, plural, quantity, stated_percent, whole
from bylaw.runtime.report.price_page import Section
from bylaw.runtime.report.price_plots import MOST_LABELS, png_bytes, svg_text
from bylaw.runtime.report.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADINGS = ("rule", "limit", "expected", "for what", "answers", "may break it", "power", "with --stop", "labels")
PLANTED_HEADINGS = ("rule", "planted (nats)", "rate planted", "answers that find it", "found by this plan")
_POINTS = 60
_COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed", "#b45309", "#0e7490", "#475569", "#be185d")
_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the answers of a plan cost: requests, tokens in and out, and the price of these (None: not given)."""

    requests: int
    tokens_in: int | None
    tokens_out: int | None
    price: float | None


def plan_sections(plan: PolicyPlan, cost: Cost) -> tuple[Section, ...]:
    """What the audit takes in all, and rule by rule."""
    planted = [each for each in plan.rules if each.planted is not None]
    rows = tuple(_row(each) for each in plan.rules)
    sections = [
        Section(f"Plan of an audit of {plan.policy}", tuple(_sentences(plan, cost)), HEADINGS, rows, _notes(plan))
    ]
    if planted:
        sections.append(
            Section(
                "Planted violations",
                (
                    "What it takes to show that a rule is over its limit, when its violations are made more frequent "
                    "by a known multiplier; with the same confidence and power.",
                ),
                PLANTED_HEADINGS,
                tuple(_planted_row(each) for each in planted),
            )
        )
    return tuple(sections)


def plan_json(plan: PolicyPlan, cost: Cost) -> dict[str, Any]:
    """The plan as JSON values."""
    found: dict[str, Any] = writable({**asdict(plan), "cost": asdict(cost)})
    return found


def _sentences(plan: PolicyPlan, cost: Cost) -> list[str]:
    if not plan.samples:
        return ["No rule of this policy can be planned for: see the reasons."]
    to = "" if plan.cluster_size == 1 else f" ({whole(plan.cluster_size)} to each of {plural(plan.prompts, 'prompt')})"
    is_part = any(each.purpose == "none" for each in plan.rules)
    reason = "know the rates below"
    if plan.certified:
        reason = "certify every limit that could be planned for" if is_part else "certify every limit below"
    said = [f"It takes {plural(plan.samples, 'answer')}{to} to {reason}: one set of answers serves all rules."]
    tokens = [f"about {whole(cost.tokens_in)} tokens in"] if cost.tokens_in is not None else []
    tokens += [f"{whole(cost.tokens_out)} out"] if cost.tokens_out is not None else []
    price = [] if cost.price is None else [f"a price of about {cost.price:,.2f}"]
    said.append("That is " + ", ".join([plural(cost.requests, "request"), *tokens, *price]) + ".")
    if plan.questions:
        said.append(f"Scorers are asked about what texts express up to {whole(plan.questions)} times.")
    if plan.labels:
        said.append(f"People label {plural(plan.labels, 'text')}, half of them judged to break the rule.")
    return said


def _notes(plan: PolicyPlan) -> tuple[str, ...]:
    how = "all limits together" if plan.is_together else "each limit"
    jointly = 1 - plan.certified * (1 - plan.power)
    every = f", and so at least {percent(jointly)} for all of them" if plan.certified > 1 and jointly > 1e-9 else ""
    notes = [
        f"Confidence {stated_percent(plan.confidence)} for {how}, power {stated_percent(plan.power)} for each{every}, "
        "if the rates are as expected. A hard rule is never shown to hold: that it is broken in less than its limit "
        "here is."
    ]
    if any(each.stopped for each in plan.rules):
        notes.append(
            "with --stop: the answers on average until the limit is shown to be kept by an audit that stops by itself, "
            "and how often that is within so many; what the steps of Holm save is not counted."
        )
    if plan.design_effect > 1:
        notes.append(
            f"Answers to one prompt are taken to be correlated by {plan.correlation:.2f}: {whole(plan.cluster_size)} "
            f"of them are worth {plan.cluster_size / plan.design_effect:.1f} independent ones."
        )
    if any(each.is_least for each in plan.rules):
        notes.append(
            "≥: as if whatever judges what texts express never erred. Say how good it is with --judge-sensitivity and "
            "--judge-specificity, as `bylaw label` finds them."
        )
    if plan.pilot is not None:
        pilot = plan.pilot
        notes.append(f"Pilot: {plural(pilot.answers, 'answer')} to {plural(pilot.prompts, 'prompt')}.")
    notes += [f"`{one_line(each.term)}`: {each.why_not}" for each in plan.rules if each.why_not]
    return tuple(notes)


def _row(each: RulePlan) -> tuple[str, ...]:
    limit = NOTHING if each.limit is None else f"{each.sense} {_said(each.limit, each.is_share, stated=True)}"
    expected = NOTHING if each.rate is None else f"{_said(each.rate, each.is_share)} ({each.source})"
    samples = NOTHING if each.samples is None else ("≥ " if each.is_least else "") + whole(each.samples)
    return (
        one_line(each.term) + (" (judged)" if each.is_judged else ""),
        limit,
        expected,
        {"certify": "certify", "estimate": "estimate", "none": "not planned"}[each.purpose],
        samples,
        NOTHING if each.allowed is None else f"{whole(each.allowed)} of {whole(each.independent or 0)}",
        NOTHING if each.power is None else percent(each.power),
        NOTHING if each.stopped is None else _stopped(*each.stopped),
        NOTHING if each.labels is None else f"{whole(each.labels)} of either verdict",
    )


def _stopped(mean: float, kept: float, within: int) -> str:
    return f"{whole(mean)} ({percent(kept)} within {whole(within)})"


def _planted_row(each: RulePlan) -> tuple[str, ...]:
    assert each.planted is not None
    multiplier, rate, needed, power = each.planted
    return (
        one_line(each.term),
        f"{multiplier:g}",
        percent(rate),
        "it is not over its limit" if needed is None else whole(needed),
        percent(power),
    )


def _said(value: float, is_share: bool, *, stated: bool = False) -> str:
    if not is_share:
        return f"{value:g}" if stated else quantity(value)
    return stated_percent(value) if stated else percent(value)


# ---------------------------------------------------------------------------------------------------------------- plot
def power_plot(plan: PolicyPlan, suffix: str) -> bytes:
    """The plot of power as the bytes of an `.svg` or `.png` file. Equal plans give equal bytes."""
    figure = power_figure(plan)
    return svg_text(figure, "plan").encode() if suffix == ".svg" else png_bytes(figure)


def power_figure(plan: PolicyPlan) -> Figure:
    """The chance to certify each limit on a share by the number of answers, with the size that was planned."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(8.4, 4.8))
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.1, right=0.97, bottom=0.13, top=0.92)
    drawn = [each for each in plan.rules if each.allowed is not None and each.independent][:MOST_LABELS]
    for number, each in enumerate(drawn):
        sizes, powers = curve(each)
        assert each.samples is not None
        assert each.independent is not None
        answers = [size * each.samples / each.independent for size in sizes]
        colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
        axes.plot(answers, powers, color=colour, linestyle=dash, label=one_line(each.term))
        axes.plot([each.samples], [each.power or 0.0], color=colour, marker="o", linestyle="none")
    axes.axhline(plan.power, color="#8a94a6", linestyle=":", linewidth=1.0)
    axes.set_ylim(0.0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("answers in all")
    axes.set_ylabel("chance to certify the limit (dotted: asked for)")
    axes.set_title("Power of an audit, if the rates are as expected")
    axes.spines[["top", "right"]].set_visible(False)
    if drawn:
        axes.set_xscale("log")
        axes.legend(frameon=False, fontsize="small", loc="lower right")
    return figure


def curve(each: RulePlan) -> tuple[list[int], list[float]]:
    """(independent answers, exact power with so many) of a limit on a share, up to three times what is planned."""
    assert each.independent is not None
    assert each.limit is not None
    assert each.rate is not None
    is_mirrored = each.sense == "at least"
    limit, rate = (1 - each.limit, 1 - each.rate) if is_mirrored else (each.limit, each.rate)
    first, last = max(2, each.independent // 20), 3 * each.independent
    ratio = (last / first) ** (1 / (_POINTS - 1))
    sizes = sorted({round(first * ratio**step) for step in range(_POINTS)} | {each.independent})
    confidence = each.confidence or CONFIDENCE
    return sizes, [planning.power_of(size, limit, rate, confidence) for size in sizes]
