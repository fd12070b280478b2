"""The closed-form generator-regulator case studies of arXiv:2606.18424, LAW.md §4.

A response is L independent positions of few classes. Against a regulator of strength λ that compares with a reference
law by KL divergence, the generator's equilibrium per position is (temperature T = 1)

    q_λ(c) ∝ ref(c)^{λ/(1+λ)} · e^{u(c)/(1+λ)}.

A response is flagged when its mean score reaches a threshold. Scores are rationals and are compared as integers:
floating sums misjudge exact ties, and thresholds here lie on ties. Entropies and divergences are in nats. Where the
class probabilities are rational too, the flag probability is a Fraction, without any rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import erfc, inf, lcm, sqrt

import numpy as np

from bylaw.compiler.law.divergence import KL, Divergence
from bylaw.compiler.law.equilibria import kl_equilibrium, solve_game
from bylaw.compiler.law.gibbs import entropy, kl_divergence
from bylaw.compiler.law.numerics import FloatArray, as_vector, log_sum_exp

STRENGTHS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""λ of the paper's tables."""
LENGTHS = (10, 25, 50, 100, 200, 400)
"""Positions for which the distance from the Gaussian is shown."""


@dataclass(frozen=True)
class GameCase:
    """One case study: C classes per position.

    Attributes:
        name: what it is about. classes: C names.
        reference: C positive probabilities of the compliant law, summing to one.
        utility: C utilities u of the generator, nats at T = 1.
        score: C scores of the flagging rule, exact.
        threshold: flag when the mean score over positions is at least this, exact.

    Raises:
        ValueError: lengths disagree, the reference is not a positive law, or a score is negative.
    """

    name: str
    classes: tuple[str, ...]
    reference: tuple[float, ...]
    utility: tuple[float, ...]
    score: tuple[Fraction, ...]
    threshold: Fraction

    def __post_init__(self) -> None:
        if len({len(self.classes), len(self.reference), len(self.utility), len(self.score)}) != 1:
            raise ValueError("classes, reference, utility and score must have one length")
        if min(self.reference) <= 0.0 or abs(sum(self.reference) - 1.0) > 1e-9:
            raise ValueError("the reference must be positive and sum to one")
        if min(self.score) < 0:
            raise ValueError("scores must not be negative")


@dataclass(frozen=True)
class GameRow:
    """One line of a case study's table.

    Utility, entropy, KL to the reference, charge and value are per position, in nats. ``charge`` is D_f(q‖ref) of the
    regulator's divergence, value = utility + entropy − λ·charge, which for KL is (1+λ) log Z. The flag probabilities
    are per response of ``positions`` positions.
    """

    strength: float
    probabilities: tuple[float, ...]
    utility: float
    entropy: float
    kl: float
    charge: float
    value: float
    positions: int
    flag_probability: float
    flag_probability_gaussian: float


def censorship() -> GameCase:
    """Ordinary, indirect and direct speech about a censored subject."""
    return GameCase(
        "censorship",
        ("ordinary", "indirect", "direct"),
        (0.72, 0.23, 0.05),
        (0.4, 1.3, 1.7),
        (Fraction(0), Fraction(1, 4), Fraction(1)),
        Fraction(1, 4),
    )


def phishing() -> GameCase:
    """Benign wording, account talk and risky requests in a mail."""
    return GameCase(
        "phishing",
        ("benign", "account", "risk"),
        (0.76, 0.21, 0.03),
        (0.5, 1.0, 1.9),
        (Fraction(0), Fraction(1, 5), Fraction(1)),
        Fraction(1, 5),
    )


def equilibrium(case: GameCase, strength: float, divergence: Divergence = KL) -> FloatArray:
    """[C] log q_λ; λ = 0 is the softmax of utility, λ = inf the reference. ValueError for λ < 0 or NaN."""
    if not strength >= 0.0:
        raise ValueError(f"regulator strength must be nonnegative, got {strength}")
    reference = np.log(as_vector(case.reference, "reference"))
    reference = reference - log_sum_exp(reference)
    if strength == inf:
        return reference
    if divergence is not KL:
        return solve_game(case.utility, reference, strength, divergence).log_q
    return kl_equilibrium(case.utility, reference, strength)[0]


@dataclass(frozen=True, eq=False)
class ScoreLaw:
    """The law of a response's total score: probability[k] = P(total = k · unit), k = 0 …"""

    unit: Fraction
    probability: FloatArray


def score_law(case: GameCase, log_q: FloatArray, positions: int) -> ScoreLaw:
    """The total score of ``positions`` ≥ 1 independent positions, exactly up to rounding; ValueError on fewer.

    Repeated convolution: all terms are nonnegative, so the relative error stays near machine precision even far in the
    tail.
    """
    steps, unit = _steps(case, positions)
    single = np.zeros(max(steps) + 1)
    np.add.at(single, steps, np.exp(log_q))
    total, power, left = np.ones(1), single, positions
    while True:
        if left % 2:
            total = np.convolve(total, power)
        left //= 2
        if not left:
            return ScoreLaw(unit, total)
        power = np.convolve(power, power)


def flag_probability(case: GameCase, log_q: FloatArray, positions: int) -> float:
    """P(mean score of ``positions`` ≥ 1 independent positions ≥ threshold), exactly up to rounding."""
    law = score_law(case, log_q, positions)
    least = _least(case, law.unit, positions)
    below, above = float(law.probability[:least].sum()), float(law.probability[least:].sum())
    return above if above < below else 1.0 - below  # rounding falls on the larger part


def exact_flag_probability(case: GameCase, probabilities: Sequence[Fraction], positions: int) -> Fraction:
    """``flag_probability`` for C rational class probabilities, in integers throughout.

    Raises:
        ValueError: not C nonnegative Fractions that sum to exactly one, or ``positions`` < 1.
    """
    if len(probabilities) != len(case.classes) or sum(probabilities) != 1 or min(probabilities) < 0:
        raise ValueError(f"{len(case.classes)} nonnegative fractions that sum to exactly one are needed")
    steps, unit = _steps(case, positions)
    whole = lcm(*(probability.denominator for probability in probabilities))
    single = [(step, int(probability * whole)) for step, probability in zip(steps, probabilities, strict=True)]
    total = {0: 1}
    for _ in range(positions):
        grown: dict[int, int] = {}
        for reached, ways in total.items():
            for step, weight in single:
                grown[reached + step] = grown.get(reached + step, 0) + ways * weight
        total = grown
    least = _least(case, unit, positions)
    return Fraction(sum(ways for reached, ways in total.items() if reached >= least), whole**positions)


def flag_probability_gaussian(case: GameCase, log_q: FloatArray, positions: int) -> float:
    """The central-limit approximation of ``flag_probability``: off by orders of magnitude in the tail, print both."""
    mean, variance = score_moments(case, log_q)
    distance = float(case.threshold) - mean
    if variance == 0.0:
        return 1.0 if distance <= 0.0 else 0.0
    return 0.5 * erfc(distance * sqrt(positions / (2.0 * variance)))


def score_moments(case: GameCase, log_q: FloatArray) -> tuple[float, float]:
    """(mean, variance) of one position's score."""
    probability = np.exp(log_q)
    score = np.array([float(value) for value in case.score])
    mean = float(probability @ score)
    return mean, float(probability @ np.square(score - mean))


def kolmogorov_distance(case: GameCase, log_q: FloatArray, positions: int) -> float:
    """sup_x |P(score ≤ x) − Φ| between the score of ``positions`` positions and its Gaussian of the same moments.

    Between two attainable scores the step function stands still and Φ grows, so that the supremum is attained at an
    attainable score, from the left or at it. 0 where the score is constant. ValueError on ``positions`` < 1.
    """
    law = score_law(case, log_q, positions)
    mean, variance = score_moments(case, log_q)
    if variance == 0.0:
        return 0.0
    reached = np.flatnonzero(law.probability > 0.0)
    scale = sqrt(2.0 * variance * positions)
    normal = np.array([0.5 * erfc((mean * positions - float(law.unit * int(step))) / scale) for step in reached])
    upto = np.cumsum(law.probability[reached])
    before = np.concatenate([np.zeros(1), upto[:-1]])
    return float(np.maximum(np.abs(upto - normal), np.abs(before - normal)).max())


def _steps(case: GameCase, positions: int) -> tuple[list[int], Fraction]:
    """C scores as multiples of their largest common unit."""
    if positions < 1:
        raise ValueError("at least one position is needed")
    whole = lcm(*(score.denominator for score in case.score))
    return [int(score * whole) for score in case.score], Fraction(1, whole)


def _least(case: GameCase, unit: Fraction, positions: int) -> int:
    """The smallest total, in units, that reaches the threshold."""
    return max(0, int(-((-case.threshold * positions / unit) // 1)))


def game_row(case: GameCase, strength: float, positions: int = 100, divergence: Divergence = KL) -> GameRow:
    """Everything the paper's table shows for one regulator strength λ (the paper's regulator is KL's)."""
    log_q = equilibrium(case, strength, divergence)
    reference = np.log(as_vector(case.reference, "reference"))
    reference = reference - log_sum_exp(reference)
    probability = np.exp(log_q)
    utility, spread = float(probability @ as_vector(case.utility, "utility")), entropy(log_q)
    charge = divergence.value(log_q, reference)
    return GameRow(
        strength=strength,
        probabilities=tuple(float(value) for value in probability),
        utility=utility,
        entropy=spread,
        kl=kl_divergence(log_q, reference),
        charge=charge,
        value=utility + spread - (strength * charge if strength < inf else 0.0),
        positions=positions,
        flag_probability=flag_probability(case, log_q, positions),
        flag_probability_gaussian=flag_probability_gaussian(case, log_q, positions),
    )


def game_table(
    case: GameCase,
    strengths: tuple[float, ...] = STRENGTHS,
    positions: int = 100,
    divergence: Divergence = KL,
) -> tuple[GameRow, ...]:
    """The paper's table: one row per regulator strength."""
    return tuple(game_row(case, strength, positions, divergence) for strength in strengths)
