"""Files of labels, as the verbs take them: what is wrong with single lines is told, and the rest is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.runtime.concepts.labels import LabelledText
    from bylaw.runtime.record import InputProblem
    from bylaw.spec.expression import Concept

MOST_WARNINGS = 20


def labels_or_exit(
    paths: Sequence[str], concepts: Sequence[Concept]
) -> tuple[dict[str, tuple[LabelledText, ...]], int]:  # fmt: skip
    """(the labels of all files by the full name of the concept, how many parts were left out); a file that is of no use
    is one message and exit code 2."""
    if not paths:
        return {}, 0
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.concepts.labels import joined, read_labels

    places = [Path(path).resolve() for path in paths]
    if len(set(places)) < len(places):
        fail("a file of labels is named twice", UNUSABLE)
    is_same_name = len({path.name for path in places}) < len(places)
    try:
        known = tuple(concept.name for concept in concepts)
        files = [read_labels(path, known, shown=path if is_same_name else None) for path in paths]
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    found, warnings = joined(concepts, files)
    problems = [problem for file in files for problem in file.problems]
    tell(problems, [*(warning for file in files for warning in file.warnings), *warnings])
    return found, len(problems)


def tell(problems: Sequence[InputProblem], warnings: Sequence[str]) -> None:
    """Warnings on stderr, at most MOST_WARNINGS."""
    said = [f"{each.source}, line {each.line}: {each.message}; left out" for each in problems] + list(warnings)
    for words in said[:MOST_WARNINGS]:
        click.echo(f"warning: {words}", err=True)
    if len(said) > MOST_WARNINGS:
        click.echo(f"warning: {len(said) - MOST_WARNINGS:,} more of this kind", err=True)
