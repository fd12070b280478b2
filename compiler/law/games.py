"""The closed-form generator-regulator case studies of arXiv:2606.18424, LAW.md §4.

A response is L independent positions of few classes. Against a regulator of strength λ that compares with a reference
law by KL divergence, the generator's equilibrium per position is (temperature T = 1)

    q_λ(c) ∝ ref(c)^{λ/(1+λ)} · e^{u(c)/(1+λ)}.

A response is flagged when its mean score reaches a threshold. Scores are rationals and are compared as integers:
floating sums misjudge exact ties, and thresholds here lie on ties. Entropies and divergences are in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import erfc, inf, lcm, sqrt

import numpy as np

from bylaw.compiler.law.gibbs import entropy, kl_divergence
from bylaw.compiler.law.numerics import FloatArray, as_vector, log_sum_exp


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

    Utility, entropy and KL to the reference are per position, in nats; the flag probabilities are per response.
    """

    strength: float
    probabilities: tuple[float, ...]
    utility: float
    entropy: float
    kl: float
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


def equilibrium(case: GameCase, strength: float) -> FloatArray:
    """[C] log q_λ; λ = 0 is the softmax of utility, λ = inf the reference. ValueError for λ < 0 or NaN."""
    if not strength >= 0.0:
        raise ValueError(f"regulator strength must be nonnegative, got {strength}")
    reference = np.log(as_vector(case.reference, "reference"))
    if strength == inf:
        return reference - log_sum_exp(reference)
    exponent = (strength * reference + as_vector(case.utility, "utility")) / (1.0 + strength)
    return exponent - log_sum_exp(exponent)


def flag_probability(case: GameCase, log_q: FloatArray, positions: int) -> float:
    """P(mean score of ``positions`` ≥ 1 independent positions ≥ threshold), exactly up to rounding.

    The law of the integer total score is built by repeated convolution: all terms are nonnegative, so the relative
    error stays near machine precision even far in the tail.
    """
    if positions < 1:
        raise ValueError("at least one position is needed")
    unit = lcm(*(score.denominator for score in case.score))
    steps = [int(score * unit) for score in case.score]
    single = np.zeros(max(steps) + 1)
    np.add.at(single, steps, np.exp(log_q))
    total = np.ones(1)
    for _ in range(positions):
        total = np.convolve(total, single)
    least = -((-case.threshold * unit * positions) // 1)  # smallest integer total that reaches the threshold
    return min(1.0, float(total[max(int(least), 0) :].sum()))


def flag_probability_gaussian(case: GameCase, log_q: FloatArray, positions: int) -> float:
    """The central-limit approximation of ``flag_probability``: off by orders of magnitude in the tail, print both."""
    probability = np.exp(log_q)
    score = np.array([float(value) for value in case.score])
    mean = float(probability @ score)
    variance = float(probability @ np.square(score - mean))
    distance = float(case.threshold) - mean
    if variance == 0.0:
        return 1.0 if distance <= 0.0 else 0.0
    return 0.5 * erfc(distance * sqrt(positions / (2.0 * variance)))


def game_row(case: GameCase, strength: float, positions: int = 100) -> GameRow:
    """Everything the paper's table shows for one regulator strength λ."""
    log_q = equilibrium(case, strength)
    probability = np.exp(log_q)
    return GameRow(
        strength=strength,
        probabilities=tuple(float(value) for value in probability),
        utility=float(probability @ as_vector(case.utility, "utility")),
        entropy=entropy(log_q),
        kl=kl_divergence(log_q, np.log(as_vector(case.reference, "reference"))),
        flag_probability=flag_probability(case, log_q, positions),
        flag_probability_gaussian=flag_probability_gaussian(case, log_q, positions),
    )


def game_table(
    case: GameCase, strengths: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0), positions: int = 100
) -> tuple[GameRow, ...]:
    """The paper's table: one row per regulator strength."""
    return tuple(game_row(case, strength, positions) for strength in strengths)
