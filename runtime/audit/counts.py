"""Outcomes counted by cluster: all that rates, bounds and tests of a share need of them, whatever their number.

Of a cluster only its events e and its samples s matter, and of a set of clusters only how often each (e, s) occurs.
Sums over clusters are sums of whole numbers then: they are exact, and do not hang on the order of the samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClusterCounts:
    """n samples of 0 and 1 in C clusters: (e, s, how many clusters of s ≥ 1 samples have e events), in order.

    Attributes:
        rows: the counts. events: samples that are 1. samples: n. clusters: C.
    """

    rows: tuple[tuple[int, int, int], ...]
    events: int
    samples: int
    clusters: int

    @classmethod
    def of(cls, found: Mapping[tuple[int, int], int]) -> ClusterCounts:
        """From how many clusters have (events, samples). Raises ValueError for counts that no cluster has."""
        rows = tuple(sorted((e, s, m) for (e, s), m in found.items() if m))
        if any(not 0 <= e <= s or s < 1 or m < 0 for e, s, m in rows):
            raise ValueError("a cluster has at least one sample, and no more events than samples")
        return cls(rows, sum(e * m for e, _, m in rows), sum(s * m for _, s, m in rows), sum(m for _, _, m in rows))

    @classmethod
    def independent(cls, events: int, samples: int) -> ClusterCounts:
        """Every sample for itself."""
        return cls.of({(1, 1): events, (0, 1): samples - events})

    @classmethod
    def of_outcomes(cls, outcomes: Sequence[float], clusters: Sequence[Hashable]) -> ClusterCounts:
        """From outcomes [n] of 0 and 1 and the cluster of each [n]."""
        events: dict[Hashable, int] = {}
        sizes = Counter(clusters)
        for outcome, cluster in zip(outcomes, clusters, strict=True):
            events[cluster] = events.get(cluster, 0) + (outcome != 0)
        return cls.of(Counter((events[cluster], size) for cluster, size in sizes.items()))

    @classmethod
    def of_columns(cls, outcomes: NDArray[np.bool_], clusters: NDArray[np.int64] | None) -> ClusterCounts:
        """From outcomes [n] and the number of the cluster of each [n], from 0; None: every sample for itself."""
        if clusters is None:
            return cls.independent(int(outcomes.sum()), len(outcomes))
        import numpy as np

        sizes = np.bincount(clusters)
        events = np.bincount(clusters[outcomes], minlength=len(sizes))
        # one number for each pair: sorting those is far faster than sorting pairs
        base = int(sizes.max(initial=0)) + 1
        codes, numbers = np.unique((events * base + sizes)[sizes > 0], return_counts=True)
        return cls.of({divmod(int(code), base): int(m) for code, m in zip(codes, numbers, strict=True)})

    @property
    def share(self) -> float:
        """Events among the samples; there has to be one."""
        return self.events / self.samples

    @property
    def equal(self) -> float:
        """C*: how many clusters of equal size weigh as much as these (Kish 1965)."""
        return self.samples**2 / sum(s * s * m for _, s, m in self.rows)

    @property
    def squares(self) -> float:
        """Σ_c (e_c − p s_c)² for the share p: what clusters are away from it, squared."""
        n, k = self.samples, self.events
        return sum(m * (e * n - k * s) ** 2 for e, s, m in self.rows) / (n * n)

    @property
    def corrected_squares(self) -> float:
        """As `squares`, each divided by 1 − s_c/n, which takes out that each cluster draws the share to itself; for
        equal sizes it is the factor C/(C − 1). Needs two clusters."""
        n, k = self.samples, self.events
        return math.fsum(m * (e * n - k * s) ** 2 / (n * (n - s)) for e, s, m in self.rows)
