"""A calibration as tables: for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bylaw.runtime.calibration.record import BudgetRecord, CalibrationRecord, Estimate
from bylaw.runtime.calibration.report import shown
from bylaw.runtime.record import Interval
from bylaw.runtime.report.terminal import add_row, new_table, say
from bylaw.runtime.report.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

HEADINGS = ("limit", "bound", "before", "under the law", "multiplier", "slack", "status")
PROMPTS_SHOWN = 3


def budget_rows(record: CalibrationRecord) -> list[tuple[str, ...]]:
    """One row of words a limit, under `HEADINGS`."""
    return [
        (
            budget.term,
            f"{budget.sense} {shown(budget.bound, budget.is_share)}{_about(budget)}",
            estimate(budget.base_rate, is_share=budget.is_share),
            estimate(budget.rate, is_share=budget.is_share),
            _multiplier(budget),
            shown(_slack(budget), budget.is_share),
            budget.status,
        )
        for budget in record.budgets
    ]


def estimate(found: Estimate | None, *, is_share: bool) -> str:
    """A rate and, on a line of its own, its interval."""
    return "-" if found is None else f"{shown(found.value, is_share)}\n{_range(found.interval, is_share)}"


def _range(interval: Interval, is_share: bool) -> str:
    low, high = shown(interval.low, is_share), shown(interval.high, is_share)
    return f"[{low.removesuffix(' %')}, {high.removesuffix(' %')}]"


def _about(budget: BudgetRecord) -> str:
    parts = [" on each prompt"] if budget.each_prompt else []
    parts += [" of some answers"] if budget.among else []
    return "".join(parts) + (f", or {budget.price:g} nats" if budget.price is not None else "")


def _multiplier(budget: BudgetRecord) -> str:
    if budget.multiplier is not None and budget.multiplier_interval is not None:
        return f"{budget.multiplier:.3g}\n{_range(budget.multiplier_interval, False)}"
    own = sorted(prompt.multiplier for prompt in budget.prompts if prompt.multiplier is not None)
    return f"{own[0]:.3g} to {own[-1]:.3g}\nby prompt" if own else "-"


def _slack(budget: BudgetRecord) -> float:
    """Room that is left; what a multiplier holds at its bound has none, but for a fraction of its error."""
    width = budget.rate.interval.high - budget.rate.interval.low
    return 0.0 if abs(budget.slack) < 0.02 * width and budget.status == "binding" else budget.slack


def sample_line(record: CalibrationRecord) -> str:
    """What the figures rest on, in one sentence."""
    steps = ", ".join(f"{each.scale:.2g}" for each in record.proposals[1:])
    state = "" if record.converged else "; the multipliers did NOT converge"
    return (
        f"{record.samples:,} draws for {record.prompt_count:,} prompts in {record.rounds} "
        f"round{'s' if record.rounds != 1 else ''} (multipliers times {steps}), worth {record.ess:,.0f} independent "
        f"ones under the law, {record.smallest_prompt_ess:.0f} for the hardest prompt{state}"
    )


def worst_prompts(record: CalibrationRecord) -> list[tuple[str, ...]]:
    """Under `PROMPT_HEADINGS`, the prompts that limits over all prompts leave beyond their bound, furthest first; of
    limits on each prompt those with the largest multipliers, of equal ones (a price that was reached) the furthest
    beyond first."""
    rows: list[tuple[str, ...]] = []
    for budget in record.budgets:
        known = [prompt for prompt in budget.prompts if prompt.rate.value == prompt.rate.value]
        if budget.each_prompt:
            wanted = -1.0 if budget.sense == "at least" else 1.0
            known.sort(key=lambda prompt: (-abs(prompt.multiplier or 0.0), -wanted * prompt.rate.value))
        shown_at_most = PROMPTS_SHOWN if budget.each_prompt else min(PROMPTS_SHOWN, budget.beyond)
        for prompt in known[:shown_at_most]:
            own = "" if prompt.multiplier is None else f"{prompt.multiplier:.3g}"
            rate = estimate(prompt.rate, is_share=budget.is_share)
            rows.append((budget.term, one_line(prompt.prompt), shown(prompt.base_rate, budget.is_share), rate, own))
    return rows


PROMPT_HEADINGS = ("limit", "prompt", "before", "under the law", "multiplier")


def print_calibration(record: CalibrationRecord, console: Console) -> None:
    """The record in a terminal."""
    title = f"{record.policy or 'policy'} {record.policy_version}".strip()
    say(console, f"{title} on {record.model}: {sample_line(record)}")
    if record.budgets:
        print_table(console, "limits (95 % intervals; multipliers in nats)", HEADINGS, budget_rows(record))
        prompts = worst_prompts(record)
        if prompts:
            print_table(console, "prompts by themselves", PROMPT_HEADINGS, prompts)
    else:
        say(console, "the policy has no limits: there is nothing to solve for")
    for warning in record.warnings:
        say(console, f"warning: {warning}", "yellow")


def print_table(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Words in a table under a title."""
    console.print()
    say(console, title, "bold")
    table = new_table(console, *headings)
    for row in rows:
        add_row(console, table, *row)
    console.print(table)


def markdown(record: CalibrationRecord) -> str:
    """The record in Markdown."""
    title = f"{record.policy or 'policy'} {record.policy_version}".strip()
    parts = [f"# Calibration of {_cell(title)} on {_cell(record.model)}", "", f"{sample_line(record)}.", ""]
    if record.budgets:
        parts += [*markdown_table(HEADINGS, budget_rows(record)), "", "Intervals are 95 %, multipliers in nats."]
        prompts = worst_prompts(record)
        parts += ["", "Prompts by themselves:", "", *markdown_table(PROMPT_HEADINGS, prompts)] if prompts else []
    else:
        parts.append("The policy has no limits: there is nothing to solve for.")
    if record.warnings:
        parts += ["", *(f"- warning: {_cell(warning)}" for warning in record.warnings)]
    return "\n".join(parts)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]


def _cell(words: str) -> str:
    return one_line(words).replace("|", "\\|").replace("<", "&lt;")
