"""What `bylaw concept` says on stderr after its report: what is wrong with scores, and why a gate failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bylaw.runtime.concepts.performance import Estimated
    from bylaw.runtime.concepts.report import ConceptReport


def warn(found: Sequence[ConceptReport], not_written: str | None, has_judge: bool) -> None:
    """Errors and warnings of reports. `not_written`: the folder that was to be written and was not."""
    for each in found:
        if each.separation:
            click.echo(f"error: `{each.concept.name}` cannot tell its own examples apart", err=True)
        elif each.gate == "weak":
            must = next((rule for rule, is_hard in each.rules if is_hard), None)
            refused = "" if must is None else f", and `{must}` may not forbid on it"
            click.echo(
                f"warning: the scores of `{each.concept.name}` hardly tell its examples apart{refused}", err=True
            )
        _warn_of_threshold(each)
    if found and not has_judge and all(each.scorer == "judge" for each in found):
        click.echo(
            "note: every concept here is `scored by judge`, and no judge is named: give --judge URL and --judge-model "
            "NAME, or remove `scored by judge` from the policy to score by words",
            err=True,
        )
    if not_written is not None:
        click.echo(f"error: nothing was written to `{not_written}`", err=True)


def _warn_of_threshold(found: ConceptReport) -> None:
    """Where the threshold of the policy is clearly worse than the best one."""
    used, made = found.operation, found.calibration
    if used is None or made is None or not used.is_worse:
        return
    less = used.from_best
    click.echo(
        f"warning: `{found.concept.name}`: the threshold {used.threshold:g} tells the examples apart worse than 0.5: "
        f"balanced accuracy {_estimated(used.balanced_accuracy)}, where 0.5 has {_estimated(made.balanced_accuracy)} "
        f"(difference {less.value:.2f} [{less.low:.2f}, {less.high:.2f}])",
        err=True,
    )


def tell_gate(failed: Sequence[ConceptReport]) -> None:
    """One line for each concept that made --gate fail."""
    for each in failed:
        rule = next(rule for rule, is_hard in each.rules if is_hard)
        known = each.calibration
        why = each.lacking or "nothing is known of how well its scores tell examples apart"
        if each.gate == "weak":
            why = "its AUC" if known is None else f"its AUC {_estimated(known.auc)}"
            why += f" is below 0.70{'' if known is not None else f' ({each.judge})'}"
        click.echo(f"error: --gate: `{each.concept.name}`, which `{rule}` (must) hangs on: {why}", err=True)


def _estimated(value: Estimated) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
