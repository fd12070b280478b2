"""What a record says of scores: who gave them, for which share of the texts, and how much they are worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriftTest:
    """Whether texts are unlike those that scores were calibrated on: `fired` at the level of the test; `p_value` None
    where there are too few texts to tell. `message` is a sentence for people. `p_value_at_share`: of the test against
    calibration texts thinned to the `share` that expresses the concept here; None where it was not made."""

    fired: bool
    p_value: float | None
    message: str
    p_value_at_share: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class ConceptScoring:
    """What became of the questions about one concept.

    `asked` different texts, of which `scored` have a score and `expressing` one at the threshold or above; `unscored`
    are (class of reasons, number, the first reason). `digest` changes with everything that can change an answer of the
    scorer. `accuracy` is (balanced accuracy, area under the curve, share of labelled texts that express the concept) on
    the texts that the scores were held against, `drift` whether these here are unlike them; None: not known.
    `rules` hang on these scores, and the intervals of their rates leave out how often the scores err, which `errors`
    says (empty: not known). `notes` are said beside it, `remarks` are warnings.
    `seconds` of processor or waiting; `requests` that were sent, `cached` answers that were not.
    """

    concept: str
    scorer: str
    digest: str
    asked: int
    scored: int
    expressing: int
    unscored: tuple[tuple[str, int, str], ...] = ()
    accuracy: tuple[float, float, float] | None = None
    drift: DriftTest | None = None
    seconds: float = 0.0
    requests: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    errors: str = ""
