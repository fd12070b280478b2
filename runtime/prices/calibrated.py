"""A calibration read back for questions about prices: its scored responses, and its terms with the prices of slack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.calibration.record import (
    CalibrationRecord,
    StaleRecord,
    load_record,
    require_current,
)
from bylaw.runtime.prices.law import Scores, flatten
from bylaw.runtime.prices.scored import ScoredError, ScoredSuite, load

SCORES_FILE = "scores.npz"
MOST_NAMED = 5
"""Changed rules that a message names."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What `bylaw calibrate` left: `terms` in the order of the columns of `scores`."""

    record: CalibrationRecord
    scores: Scores
    terms: tuple[RewardTerm, ...]

    @property
    def ceilings(self) -> dict[str, float]:
        """Upper bounds (95 %) on the rates, by term id, of what no draw from the base model showed."""
        return {each.term: each.at_most for each in self.record.terms if each.at_most is not None}


def read_calibrated(folder: str | Path, program: RewardProgram) -> Calibrated:
    """Reads DIR/calibration.json and DIR/scores.npz for the rules of `program`.

    Raises CalibrationRecordError for a record that cannot be read, StaleRecord for one of other rules (with what
    changed), ScoredError for scores that are missing, damaged or of another calibration, and Unanswerable where a
    prompt has no response.
    """
    place = Path(folder)
    record = load_record(place)
    try:
        require_current(record, program=program)
    except StaleRecord as error:
        raise StaleRecord(f"{error} ({_what_changed(record.calibrated_program(), program)})", error.changed) from None
    file = (place if place.is_dir() else place.parent) / SCORES_FILE
    suite = load(file)
    _require_of(record, program, suite, file)
    prices = {budget.term: budget.price for budget in record.budgets}
    terms = tuple(replace(term, price=prices.get(term.id, term.price)) for term in program.terms)
    return Calibrated(record, flatten(suite), terms)


def _require_of(record: CalibrationRecord, program: RewardProgram, suite: ScoredSuite, file: Path) -> None:
    """Raises ScoredError unless the scores were made with the record."""
    origin = suite.origin
    wrong = [
        name
        for name, found, expected in (
            ("rules", origin.rules, record.rules),
            ("model", origin.model, record.model_digest),
            ("prompts", origin.prompts, record.prompts_digest),
            ("temperature", origin.temperature, record.temperature),
            ("longest response", origin.max_tokens, record.max_tokens),
            ("number of prompts", len(suite.prompts), record.prompt_count),
            ("terms", suite.terms, tuple(term.id for term in program.terms)),
        )
        if found != expected
    ]
    if wrong:
        raise ScoredError(f"`{file}` is of another calibration ({', '.join(wrong)}); run `bylaw calibrate` again")
    for prompt in suite.prompts:
        ratio = prompt.log_ratio
        if np.isnan(ratio).any() or np.isposinf(ratio).any() or not np.isfinite(prompt.values).all():
            raise ScoredError(f"`{file}` is damaged: not every score of prompt `{prompt.id}` is a finite number")


def _what_changed(before: RewardProgram, after: RewardProgram) -> str:
    """Which rules are new, gone or say something else."""
    old, new = _digests(before), _digests(after)
    parts = [
        f"{what}: {_names(names)}"
        for what, names in (
            ("new", [name for name in new if name not in old]),
            ("gone", [name for name in old if name not in new]),
            ("changed", [name for name in new if name in old and new[name] != old[name]]),
        )
        if names
    ]
    return "; ".join(parts) if parts else "the name, version, levels or order of the rules"


def _digests(program: RewardProgram) -> dict[str, str]:
    """Of each term by itself, by its id."""
    return {term.id: RewardProgram("", "", (), (term,)).digest for term in program.terms}


def _names(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:MOST_NAMED])
    return shown + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
