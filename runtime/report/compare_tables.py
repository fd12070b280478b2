"""What `bylaw compare` found in files, as sections of sentences and cells for a terminal and Markdown."""

from __future__ import annotations

from bylaw.runtime.audit.clustered import ClusteredEstimate
from bylaw.runtime.audit.comparison import PairedDifference
from bylaw.runtime.audit.consistency import Consistency, SelfPreference
from bylaw.runtime.audit.coverage_of_answers import CoverageComparison
from bylaw.runtime.audit.drift_over_checkpoints import Drift
from bylaw.runtime.audit.order import VerdictOrders
from bylaw.runtime.audit.scaling import Best, Scalar, ScalingCurve
from bylaw.runtime.record import Interval
from bylaw.runtime.report import figures
from bylaw.runtime.report.price_page import Section

INTERVALS = "Intervals are 95%; answers to one prompt are not taken to be independent."


def share(value: float, interval: Interval | None) -> str:
    """A share with its interval."""
    return figures.percent(value) + ("" if interval is None else f" ({figures.percent_interval(interval)})")


def rate(found: ClusteredEstimate | None) -> str:
    """An estimated share with its interval; nothing where there is none."""
    return figures.NOTHING if found is None else share(found.mean, found.interval)


def number(value: float, interval: Interval) -> str:
    """A quantity with its interval."""
    return f"{value:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def gap(found: PairedDifference | None, is_share: bool = True) -> str:
    """A paired difference with its interval, in points for shares."""
    if found is None:
        return figures.NOTHING
    scale, unit = (100.0, " points") if is_share else (1.0, "")
    low, high = (scale * value for value in (found.interval.low, found.interval.high))
    return f"{scale * found.difference:+.3g}{unit} ({low:+.3g} to {high:+.3g})"


def drift_sections(found: Drift) -> tuple[Section, ...]:
    """Rates by checkpoint, and how far behaviour moved between them."""
    header = ("rule", *(f"{name} (step {step:g})" for name, step in zip(found.names, found.steps, strict=True)))
    rows = tuple(
        (
            rule.term,
            *(
                (figures.NOTHING if value is None else share(value, interval))
                + (f", {unscored} unscored" if unscored else "")
                for value, interval, unscored in zip(rule.rates, rule.intervals, rule.unscored, strict=True)
            ),
            gap(rule.change),
            figures.NOTHING
            if rule.settled is None
            else f"step {rule.settled:g}"
            + ("" if rule.settled_range is None else f" ({rule.settled_range[0]:g} to {rule.settled_range[1]:g})"),
        )
        for rule in found.rules
    )
    rates = Section(
        "How often each rule is broken, by checkpoint",
        (f"On {figures.plural(found.prompts, 'prompt')} that every checkpoint answered.", *found.warnings),
        (*header, "last minus first", "settled"),
        rows,
        (
            f"{INTERVALS} Last minus first: paired by prompt. Settled: the step from which the rate stays within "
            f"{figures.stated_percent(found.tolerance)} of its whole change from its end; only where it changed.",
        ),
    )
    moved = Section(
        "How far behaviour moved",
        (),
        ("from", "to", "L1", "Jensen-Shannon (nats)", "by chance (L1)", "p"),
        tuple(
            (
                each.first,
                each.last,
                number(each.l1, each.l1_interval),
                f"{each.jensen_shannon:.3g}",
                f"{each.noise:.3g}",
                f"{each.p_value:.3g}",
            )
            for each in found.stretches
        ),
        (
            "Between the shares kept, broken and not applicable, mean over rules: L1 from 0 to 2, Jensen-Shannon up to "
            "0.693. By chance: what two checkpoints of equal behaviour would show with as many answers; p: how often "
            "they would show as much.",
        ),
    )
    return rates, moved


def coverage_sections(found: CoverageComparison, before: str, after: str) -> tuple[Section, ...]:
    """Before beside after."""
    rows = tuple(
        (
            line.name,
            *(
                share(value, interval) if _is_share(line.name) else number(value, interval)
                for value, interval in ((line.before, line.before_interval), (line.after, line.after_interval))
            ),
            gap(line.difference, _is_share(line.name)),
        )
        for line in found.lines
    )
    sentences = [
        f"Mean over {figures.plural(found.prompts, 'prompt')}; {figures.plural(found.before_samples, 'answer')} before "
        f"({before}) and {figures.whole(found.after_samples)} after ({after}).",
        *found.warnings,
    ]
    for name, count, bounds in zip(("before", "after"), found.unscored, found.valid_bounds, strict=True):
        if count:
            sentences.append(
                f"{figures.plural(count, 'answer')} {name} could not be scored and {'is' if count == 1 else 'are'} "
                f"left out: with all of them, between {figures.percent_interval(bounds)} are valid."
            )
    notes = (f"{INTERVALS} After minus before: paired by prompt. Every figure is unbiased for the number of draws.",)
    header = ("measure", "before", "after", "after minus before")
    return (Section("Valid answers and diversity", tuple(sentences), header, rows, notes),)


def _is_share(name: str) -> bool:
    return not name.startswith("distinct valid")


def consistency_sections(found: Consistency) -> tuple[Section, ...]:
    """Judges by generators, paired differences, and self-preference."""
    cells = Section(
        "Policy, generator and judge",
        (
            f"{figures.plural(found.rows, 'verdict')} on {figures.plural(found.prompts, 'prompt')} and "
            f"{figures.plural(found.rules, 'rule')}, {figures.whole(found.unscored)} of them unscored; "
            f"`{found.reference}` speaks for the policy.",
            *(
                f"`{model}` keeps a rule and says so itself: {rate(estimate)} of the time."
                for model, estimate in found.three_way
            ),
        ),
        ("generator", "judge", "rules kept", "agrees with the policy", "kappa", "unscored"),
        tuple(
            (
                cell.generator,
                cell.judge + (" (itself)" if cell.is_own else ""),
                rate(cell.kept),
                rate(cell.agreement),
                figures.NOTHING if cell.kappa is None else f"{cell.kappa:.2f}",
                figures.whole(cell.unscored),
            )
            for cell in found.cells
        ),
        (INTERVALS,),
    )
    pairs = Section(
        "Paired differences in rules kept",
        (),
        ("first", "second", "on", "first minus second", "p", "pairs"),
        tuple(
            (pair.first, pair.second, what + pair.common, gap(pair.difference), f"{pair.difference.p_value:.3g}",
             figures.whole(pair.difference.pairs))
            for group, what in ((found.generators, "judged by "), (found.judges, "answers of "))
            for pair in group
        ),
        ("p: exact (McNemar, by prompt), not adjusted for the number of pairs.",),
    )  # fmt: skip
    return cells, pairs, _preference_section(found.preferences)


def _preference_section(found: tuple[SelfPreference, ...]) -> Section:
    if not found:
        sentence = "No judge scored its own answers and those of others, so self-preference cannot be told."
        return Section("Self-preference of judges", (sentence,))
    rows = tuple(
        (
            each.judge,
            ", ".join(each.others),
            *(figures.NOTHING if value is None else f"{100 * value:+.3g} points" for value in
              (each.on_kept, each.on_broken)),
            f"{100 * each.estimate:+.3g} points ({100 * each.interval.low:+.3g} to {100 * each.interval.high:+.3g})",
        )
        for each in found
    )  # fmt: skip
    note = (
        "How much oftener a judge calls an own answer kept than those of others of which the policy says the same; 0 "
        f"is a fair judge. {INTERVALS}"
    )
    header = ("judge", "others", "among kept", "among broken", "together")
    return Section("Self-preference of judges", (), header, rows, (note,))


def orders_sections(found: VerdictOrders) -> tuple[Section, ...]:
    """Flips between orders beside flips within one."""
    rows = [("two orders give different verdicts", rate(found.flips))]
    if found.repeats is not None:
        rows += [
            ("two repeats of one order do", rate(found.repeats)),
            ("the order's own part", gap(found.beyond)),
        ]
    else:
        rows.append(("two repeats of one order do", "not measured: no item was repeated in one order"))
    rows.append(("verdicts equal to the item's majority", figures.percent(found.majority)))
    left = f"; {figures.plural(found.left_out, 'item')} seen in one order only left out" if found.left_out else ""
    sentence = (
        f"{figures.plural(found.verdicts, 'verdict')} on {figures.plural(found.items, 'item')}{left}. "
        f"{figures.plural(found.unstable, 'item has', 'items have')} more than one verdict."
    )
    return (Section("Does the order change the verdict", (sentence,), ("measure", "share"), tuple(rows), (INTERVALS,)),)


def curve_sections(found: ScalingCurve) -> tuple[Section, ...]:
    """Best-of-k on samples."""
    low, high = found.best_range
    last = found.points[-1].draws
    told = (
        f"Best of {last} is worse than the best choice by {number(found.loss, found.loss_interval)}: the judge is "
        f"over-optimised. Use at most {found.best} draws."
        if found.is_overoptimised
        else f"Best of {last} loses {number(found.loss, found.loss_interval)} against the best choice, which may be "
        "nothing: no over-optimisation is seen up to there."
    )
    agree = "" if found.correlation is None else f" Kendall's tau of judge and truth: {found.correlation:.2f}."
    return (
        Section(
            "Best of k by the judge, scored by the truth",
            (
                f"{figures.plural(found.samples, 'sample')} of {figures.plural(found.prompts, 'prompt')}.{agree}",
                f"The best k is {found.best} (95% of resampled prompts: {low} to {high}). {told}",
                *found.warnings,
            ),
            ("k", "truth", "judge", "truth of the best by truth"),
            tuple(
                (str(each.draws), number(each.truth, each.interval), f"{each.proxy:.3g}", f"{each.oracle:.3g}")
                for each in found.points
            ),
            (f"{INTERVALS} k = 1 is a choice at random. The loss is measured on prompts that did not choose the k.",),
        ),
    )


def scalar_sections(model: Scalar, found: Best, used: int, errors: tuple[float, ...]) -> tuple[Section, ...]:
    """Best-of-k in the scalar model; `errors`: with `used` draws, at the best temperature, and that temperature."""
    nearest, softened, temperature = errors
    least = f"at {found.draws:,} draws or more" if found.is_end else f"at {found.draws:,} draws"
    warning = (
        (f"{used:,} draws are more than {found.draws:,}: the judge is over-optimised.",)
        if used > found.draws and not found.is_end
        else ()
    )
    soft = "random choice" if temperature == float("inf") else f"temperature {temperature:.3g}"
    return (
        Section(
            "Best of k for a judge that is off",
            (
                f"Answers N({model.mean:g}, {model.sd:g}²), the truth is {model.target:g}, the judge prefers "
                f"{model.judge:g}.",
                f"The squared error is least {least}: {found.error:.6g}.",
                *warning,
            ),
            ("choice", "squared error"),
            (
                ("one draw", f"{model.sd**2 + (model.mean - model.target) ** 2:.6g}"),
                (f"the nearest to the judge of {used:,}", f"{nearest:.6g}"),
                (f"soft choice of {used:,}, {soft}", f"{softened:.6g}"),
                ("endless draws", f"{(model.judge - model.target) ** 2:.6g}"),
            ),
            ("Exact, by quadrature.",),
        ),
    )
