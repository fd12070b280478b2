"""`bylaw compare`: models, checkpoints and judges beside each other."""

from __future__ import annotations

import click

from bylaw.runtime.cli import compare_files, compare_models


@click.group("compare")
def command() -> None:
    """Compare models, checkpoints and judges: where they differ, since when, and how sure that is."""


for _verb in (
    compare_files.consistency_verb,
    compare_files.coverage_verb,
    compare_files.drift_verb,
    compare_models.order_verb,
    compare_files.scaling_verb,
    compare_models.shift_verb,
):
    command.add_command(_verb)
