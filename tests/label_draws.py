"""Label sheets without files: labels of people for verdicts that are given as columns."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit.columns import NOT_APPLICABLE, SATISFIED, UNSCORED, VIOLATED
from bylaw.runtime.audit.corrected import corrected_rate
from bylaw.runtime.audit.label_sheets import LABELS_KIND, By, Drawn, Label, Labels, RuleSheet, draw
from bylaw.runtime.correction_record import CorrectedRate
from bylaw.spec.source import Source

XSTEST = Path(__file__).parents[2] / "shared" / "data" / "xstest"
CODES = {"yes": VIOLATED, "no": SATISFIED, "does not apply": NOT_APPLICABLE, "unscored": UNSCORED}


@cache
def term(limit: str = "") -> RewardTerm:
    """A hard rule about refusing, or a limit: `to at most 20% of responses with confidence 0.95`."""
    said = f'limit response contains "cannot" {limit}' if limit else 'must not contain "cannot"'
    text = f'policy larkmoor.help version "1.0.0" edition 1\nlevels root > user\nrule helps at user {{ {said} }}\n'
    return compile_source(Source.of("rules.bylaw", text)).require().terms[0]


def columns(judged: Sequence[str]) -> tuple[Any, Any]:
    """(codes, values) [n] of verdicts: yes, no, does not apply, unscored."""
    codes = np.array([CODES[each] for each in judged], np.uint8)
    return codes, np.array([-1.0, 0.0, np.nan, np.nan])[
        [("yes", "no").index(e) if e in ("yes", "no") else 2 for e in judged]
    ]


def labels_of(
    people: Sequence[str],
    judged: Sequence[str],
    number: int,
    by: By,
    seed: int,
    of: RewardTerm | None = None,
    **more: Any,
) -> tuple[Labels, RuleSheet]:
    """What one person says of `number` answers that were drawn from these."""
    mine = of or term()
    rule, places = draw(mine, "must not", *columns(judged), number=number, by=by, seed=seed, **more)
    drawn = Drawn("larkmoor.help", "1.0.0", "sha256:0", "answers", len(judged), "sha256:0", by, seed, (rule,))
    found = tuple(Label(str(i), mine.id, p, h, (people[p],), ("",)) for i, (p, h) in enumerate(places))  # type: ignore[arg-type]
    return Labels(LABELS_KIND, drawn, ("one.csv",), found), rule


def corrected(
    people: Sequence[str], judged: Sequence[str], number: int, by: By, seed: int, prompts: Any = None,
    of: RewardTerm | None = None, **more: Any,
) -> CorrectedRate:  # fmt: skip
    """The rate that an audit would report."""
    labels, rule = labels_of(people, judged, number, by, seed, of, **more)
    return corrected_rate(of or term(), *columns(judged), prompts, labels, rule)


@cache
def xstest(model: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Refusals, full or partial: by people, by a judge [450]."""
    with (XSTEST / f"{model}.gpt_judge.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    answers = {True: "no", False: "yes"}
    people, judge = (
        tuple(answers[row[name] == "1_full_compliance"] for row in rows) for name in ("final_label", "gpt4_label")
    )
    return people, judge
