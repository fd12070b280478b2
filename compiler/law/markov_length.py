"""Whether a regulated Markov model has a law without a cap on the length, LAW.md §1, and what it then is.

Without a cap Z is a geometric series in the tilted transition matrix M(n, n′) = Σ_w p0(w|n) e^{r − μ·f}: it converges
if and only if the spectral radius of M, on the states that responses can pass and still end, is below 1. A response
to a per-token reward can then not outgrow its improbability. Source: Seneta 1981 (Perron–Frobenius theory).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.markov import JointGraph, RegulatedChain
from bylaw.compiler.law.numerics import FloatArray

_ROUNDING = 1e-12
_DENSE = 3_000  # states: beyond, a dense matrix and its eigenvalues take too long


@dataclass(frozen=True)
class LengthLimit:
    """What happens to Z as the cap goes to infinity.

    Attributes:
        spectral_radius: of the tilted transition matrix: by what a further token multiplies the mass still open.
        normalisable: whether the law exists without a cap. Within rounding of 1 it is taken not to.
        log_z: its log Z in nats without a cap; +inf where the sum diverges, −inf where no response ends by itself.
    """

    spectral_radius: float
    normalisable: bool
    log_z: float

    def describe(self) -> str:
        """One sentence for people."""
        if self.normalisable:
            return f"the law exists at any length: a further token keeps {self.spectral_radius:.4g} of what is open"
        if self.log_z == -np.inf:
            return "this law exists only with a cap on the length: no response that the rules allow ends by itself"
        return (
            f"this law exists only with a cap on the length: a further token multiplies what is open by "
            f"{self.spectral_radius:.4g}; lower the reward per token, or bound it"
        )


def length_limit(space: RegulatedChain, mu: npt.ArrayLike | None = None) -> LengthLimit:
    """Decides normalisability of the law at multipliers μ [J]; the chain's own cap is disregarded.

    Raises:
        ValueError: μ does not fit, or there are more than 3,000 joint states that a response can pass and still end.
    """
    law, graph = space.law(mu), space.graph
    log_factor = graph.reward - graph.features @ law.mu
    weight = np.exp(graph.log_p + log_factor)
    useful = _useful(graph, weight)
    if not useful[0]:
        return LengthLimit(0.0, False, -np.inf)
    places = np.flatnonzero(useful)
    if places.size > _DENSE:
        raise ValueError(f"{places.size} joint states are too many to decide: at most {_DENSE}")
    numbers = np.full(graph.size, -1)
    numbers[places] = np.arange(places.size)
    matrix = np.zeros((places.size, places.size))
    kept = weight[places, :-1] * useful[graph.target[places]]
    rows = np.broadcast_to(np.arange(places.size)[:, None], kept.shape)
    np.add.at(matrix, (rows[kept > 0], numbers[graph.target[places]][kept > 0]), kept[kept > 0])
    radius = spectral_radius(matrix)
    if radius >= 1.0 - _ROUNDING:
        return LengthLimit(radius, False, np.inf)
    # State 0, the beginning, is the first of the useful ones.
    values = np.linalg.solve(np.eye(places.size) - matrix, weight[places, -1])
    return LengthLimit(radius, True, float(np.log(values[0])))


def spectral_radius(matrix: npt.ArrayLike) -> float:
    """The largest absolute eigenvalue of a nonnegative square matrix [N, N].

    Taken over its strongly connected parts: a chain of parts has defective eigenvalues, which rounding would spread.

    Raises:
        ValueError: the matrix is not square, or has a negative or infinite entry.
    """
    from scipy.sparse.csgraph import connected_components

    square = np.asarray(matrix, dtype=np.float64)
    if (
        square.ndim != 2
        or square.shape[0] != square.shape[1]
        or not (np.isfinite(square).all() and (square >= 0).all())
    ):
        raise ValueError("expected a square matrix of finite numbers of 0 or more")
    if not square.size:
        return 0.0
    count, labels = connected_components(square > 0.0, directed=True, connection="strong")
    largest = 0.0
    for label in range(count):
        members = np.flatnonzero(labels == label)
        block: FloatArray = square[np.ix_(members, members)]
        largest = max(largest, float(np.abs(np.linalg.eigvals(block)).max()))
    return largest


def _useful(graph: JointGraph, weight: FloatArray) -> npt.NDArray[np.bool_]:
    """[N] bool: states that a response can pass with positive weight and still end by the end token."""
    steps = weight[:, :-1] > 0.0
    reached = np.zeros(graph.size, dtype=np.bool_)
    reached[0] = True
    ending = weight[:, -1] > 0.0
    while True:
        further = reached.copy()
        further[graph.target[reached][steps[reached]]] = True
        back = ending | (steps & ending[graph.target]).any(axis=1)
        if (further == reached).all() and (back == ending).all():
            return reached & ending
        reached, ending = further, back
