"""What `bylaw law` found, as sections of cells for a terminal and Markdown, and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from bylaw.compiler.law.detection import RateTest
from bylaw.compiler.law.divergence import DIVERGENCES
from bylaw.compiler.law.games import GameCase, GameRow, equilibrium, game_table, kolmogorov_distance
from bylaw.compiler.law.numerics import NORMAL_95
from bylaw.runtime.report import figures
from bylaw.runtime.report.price_page import Section

if TYPE_CHECKING:
    from bylaw.compiler.law.samples import Estimate
    from bylaw.runtime.law_distance import Distance, DistanceRow, RuleEffect

SOURCE = "arXiv:2606.18424"


@dataclass(frozen=True, slots=True)
class CaseTable:
    """One case study: a row a strength, and for each the distance from the Gaussian by length [rows][lengths]."""

    case: GameCase
    divergence: str
    rows: tuple[GameRow, ...]
    lengths: tuple[int, ...]
    distances: tuple[tuple[float, ...], ...]


def case_table(
    case: GameCase, divergence: str, strengths: tuple[float, ...], positions: int, lengths: tuple[int, ...]
) -> CaseTable:
    """Solves the case for all strengths λ ≥ 0, finite. `divergence` is a key of `DIVERGENCES`."""
    charge = DIVERGENCES[divergence]
    laws = [equilibrium(case, strength, charge) for strength in strengths]
    return CaseTable(
        case,
        divergence,
        game_table(case, strengths, positions, charge),
        lengths,
        tuple(tuple(kolmogorov_distance(case, law, length) for length in lengths) for law in laws),
    )


# --------------------------------------------------------------------------------------------------------- paper cases
def case_sections(tables: Sequence[CaseTable]) -> tuple[Section, ...]:
    """Three sections a case: equilibria, flag probabilities, and how far the score is from its Gaussian."""
    sections: list[Section] = []
    for table in tables:
        case, name = table.case, DIVERGENCES[table.divergence].name
        charge = () if table.divergence == "kl" else ("charge",)
        parts = zip(case.classes, case.reference, case.utility, case.score, strict=True)
        unit = "utility, entropy, KL (from the reference law) and value: nats a position, value = utility + entropy - "
        ending = f"lambda charge; charge: {name} divergence from the reference law" if charge else "lambda KL"
        sections += [
            Section(
                f"Case {case.name}: equilibrium against a {name} regulator of strength lambda",
                tuple(f"{each}: reference {p:g}, utility {u:g}, score {score}" for each, p, u, score in parts),
                ("lambda", *case.classes, "utility", "entropy", "KL", *charge, "value"),
                tuple(_case_row(row, bool(charge)) for row in table.rows),
                (unit + ending,),
            ),
            Section(
                f"Case {case.name}: how likely a response of {table.rows[0].positions} positions is flagged",
                (f"It is flagged when its mean score is at least {case.threshold}. Ties count.",),
                ("lambda", "exact", "Gaussian", "exact / Gaussian"),
                tuple(map(_flag_row, table.rows)),
            ),
            Section(
                f"Case {case.name}: Kolmogorov distance of the score from its Gaussian, by length L",
                (),
                ("lambda", *(f"L={length}" for length in table.lengths)),
                tuple(
                    (f"{row.strength:g}", *(f"{value:.4g}" for value in distances))
                    for row, distances in zip(table.rows, table.distances, strict=True)
                ),
            ),
        ]
    return tuple(sections)


def case_json(tables: Sequence[CaseTable]) -> dict[str, Any]:
    """The same, every digit of it."""
    return {
        "source": SOURCE,
        "unit": "nats a position",
        "cases": [
            {
                "name": table.case.name,
                "divergence": table.divergence,
                "classes": list(table.case.classes),
                "reference": list(table.case.reference),
                "utility": list(table.case.utility),
                "score": [str(score) for score in table.case.score],
                "threshold": str(table.case.threshold),
                "rows": [
                    {
                        **asdict(row),
                        "kolmogorov_distance": [
                            {"positions": length, "distance": distance}
                            for length, distance in zip(table.lengths, distances, strict=True)
                        ],
                    }
                    for row, distances in zip(table.rows, table.distances, strict=True)
                ],
            }
            for table in tables
        ],
    }


def _case_row(row: GameRow, is_charged: bool) -> tuple[str, ...]:
    charge = (row.charge,) if is_charged else ()
    numbers = (*row.probabilities, row.utility, row.entropy, row.kl, *charge, row.value)
    return (f"{row.strength:g}", *(f"{number:.4g}" for number in numbers))


def _flag_row(row: GameRow) -> tuple[str, ...]:
    exact, normal = row.flag_probability, row.flag_probability_gaussian
    ratio = f"{exact / normal:.4g}" if normal > 0.0 else "-"
    return f"{row.strength:g}", _plain(exact), _plain(normal), ratio


# ------------------------------------------------------------------------------------------------------------- detect
def detect_section(found: RateTest) -> Section:
    """The size of an audit in sentences, and its figures."""
    verb = "fall" if found.after < found.before else "rise"
    before, after, error = (_percent(value) for value in (found.before, found.after, found.error))
    title = f"To see a rate {verb} from {before} to {after}, wrong at most {error} of the time"
    rows = [
        ("Chernoff exponent (nats a response)", _plain(found.exponent)),
        ("responses by Chernoff's bound, both errors held", f"{found.sufficient:,}"),
        ("responses by Chernoff's bound, equal prior odds", f"{found.bayes.sufficient:,}"),
        ("fewest responses, equal prior odds", _count(found.bayes.least)),
        ("fewest responses, both errors held", _count(found.responses)),
    ]
    if found.responses is None or found.error_before is None or found.error_after is None:
        sentence = (
            f"Read {figures.plural(found.sufficient, 'response')}: Chernoff's bound says that these are enough. The "
            "smallest number is too large to be computed exactly."
        )
        return Section(title, (sentence,), ("figure", "value"), tuple(rows))
    bound = "at most" if verb == "fall" else "at least"
    rows += [
        (f"wrong answers if the rate is {before}", _percent(found.error_before)),
        (f"wrong answers if the rate is {after}", _percent(found.error_after)),
    ]
    sentences = (
        f"Read {figures.plural(found.responses, 'response')}, drawn independently of each other. If what the rate "
        f"counts is in {bound} {found.threshold:,} of them, say {after}; otherwise say {before}.",
    )
    return Section(title, sentences, ("figure", "value"), tuple(rows))


def detect_json(found: RateTest) -> dict[str, Any]:
    """The same as values; an infinite exponent is null, as JSON has none."""
    data = asdict(found)
    for part in (data, data["bayes"]):
        if part["exponent"] == float("inf"):
            part["exponent"] = None
    return data


def effects_section(policy: str, error: float, effects: Sequence[RuleEffect]) -> Section:
    """How many responses it takes to see the effect of each rule."""
    return Section(
        f"Responses to read until the effect of each rule of {policy} shows",
        (f"From the model without rules to the law of the rules; wrong at most {_percent(error)} of the time.",),
        ("rule", "without rules", "under the law", "responses", "say law at"),
        tuple(_effect_row(effect) for effect in effects),
        (
            "Each size is exact for the two estimated rates, of independent responses that the rule is about; the "
            "estimates have errors of their own.",
        ),
    )


def effects_json(policy: str, error: float, effects: Sequence[RuleEffect]) -> dict[str, Any]:
    """The same as values."""
    rows = []
    for effect in effects:
        test = None if effect.test is None else detect_json(effect.test)
        rows.append({"term": effect.term, "before": effect.before, "after": effect.after, "test": test})
    return {"policy": policy, "error": error, "rules": rows}


def _effect_row(effect: RuleEffect) -> tuple[str, ...]:
    rates = _percent(effect.before), _percent(effect.after)
    test = effect.test
    if test is None:
        return effect.term, *rates, "no effect", "-"
    if test.responses is None:
        return effect.term, *rates, f"at most {test.sufficient:,}", "-"
    side = "at most" if test.after < test.before else "at least"
    return effect.term, *rates, f"{test.responses:,}", f"{side} {test.threshold:,}"


# ----------------------------------------------------------------------------------------------------------- distance
KNOWN_NOTE = (
    "by the known ratio: unlike the bounds not corrected for the bias of self-normalised weights, which is of the "
    "order of one over the effective number of responses to a prompt. A gap no larger than that says nothing, even "
    "below 0."
)


def distance_section(found: Distance) -> Section:
    """One row a divergence."""
    rows = tuple((DIVERGENCES[row.divergence].name, _within(row.bound), *_known(row)) for row in found.rows)
    return Section(
        f"How far {found.model} is from the law of {found.policy}",
        (
            f"From {found.responses:,} responses of the model to {found.prompts:,} prompts; effective "
            f"{found.model_ess:.0f} under the model and {found.law_ess:.0f} under the law. Q is the model, P the law.",
        ),
        ("divergence", "at least", "by the known ratio", "gap"),
        rows,
        (
            f"at least: a lower bound by a witness of {found.columns} quantities that the rules speak of, fitted on "
            f"one half of the {'responses' if found.split == 'draws' else 'prompts'} and judged on the other. Nats for "
            "KL and Jensen-Shannon; 95% intervals.",
            *((KNOWN_NOTE,) if any(row.direct is not None for row in found.rows) else ()),
            *(f"left out: {words}" for words in found.left_out),
        ),
    )


def distance_json(found: Distance) -> dict[str, Any]:
    """The same as values; an infinite divergence is the text "infinite"."""
    data = asdict(found)
    for row in data["rows"]:
        for part in ("bound", "direct", "gap"):
            if row[part] is not None:
                row[part] = {key: value if isfinite(value) else "infinite" for key, value in row[part].items()}
    return data


def _known(row: DistanceRow) -> tuple[str, str]:
    if row.direct is None:
        return "not known", "not known"
    if row.gap is None:
        return "infinite: Q breaks a hard rule", "infinite"
    return _within(row.direct), _within(row.gap)


def _within(estimate: Estimate) -> str:
    return f"{estimate.value:.4g} ± {NORMAL_95 * estimate.standard_error:.2g}"


def _count(value: int | None) -> str:
    return "not computed" if value is None else f"{value:,}"


def _percent(value: float) -> str:
    return f"{100 * value:.4g}%"


def _plain(value: float) -> str:
    """Six digits; small numbers as powers of ten."""
    return f"{value:.6g}"
