"""Budgets held during training: multipliers that climb the dual while the policy follows the law they make.

    μ_j ← clip( μ_j + η_t (E_π f_j − b_j) ),     the gradient of −φ(μ) = −log Z(μ) − μ·b  where π = p*(μ)  (LAW.md §2)

with the sign that the sense fixes (at most: μ ≥ 0, at least: μ ≤ 0, exactly: free) and |μ_j| ≤ ρ_j where slack has a
price. φ is convex, so with steps η/√t the averages converge even while the iterates circle; dividing by Var f makes a
step a share of Newton's. Everything is plain Python numbers: a state can be written and read back bit for bit.
Sources: Arrow, Hurwicz and Uzawa 1958; averages Nedić and Ozdaglar 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from bylaw.runtime.objectives._settings import between, not_negative, positive
from bylaw.runtime.objectives.errors import ObjectiveError

if TYPE_CHECKING:
    from torch import Tensor

    from bylaw.runtime.calibration.record import CalibrationRecord

Sense: TypeAlias = Literal["at most", "at least", "exactly"]


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` the mean of a feature to `sense` `bound` (unit of the feature); `price` (nats per unit) caps |μ|."""

    term: str
    sense: Sense
    bound: float
    price: float | None = None

    def __post_init__(self) -> None:
        if self.sense not in ("at most", "at least", "exactly"):
            raise ObjectiveError(f"the limit `{self.term}` has the sense `{self.sense}`")
        if not math.isfinite(self.bound):
            raise ObjectiveError(f"the limit `{self.term}` has the bound {self.bound}, no number")
        if self.price is not None:
            positive(price=self.price)

    def projected(self, multiplier: float) -> float:
        """The nearest multiplier that the sense and the price allow, nats per unit."""
        most = math.inf if self.price is None else self.price
        low = 0.0 if self.sense == "at most" else -most
        high = 0.0 if self.sense == "at least" else most
        return min(max(multiplier, low), high)


@dataclass(frozen=True, slots=True)
class Ascent:
    """Steps η_t = `step` / (1 + t/`steady`)^`decay`, nats per unit of excess (a share of Newton's step with variances;
    where policy and multipliers move together, more than .1 of it makes them chase each other). `largest`: no
    multiplier moves by more nats in one step. `average_from`: updates before it are not averaged."""

    step: float = 0.1
    decay: float = 0.5
    steady: float = 1.0
    largest: float = 1.0
    average_from: int = 0

    def __post_init__(self) -> None:
        positive(step=self.step, steady=self.steady, largest=self.largest)
        between(0, 1, decay=self.decay)
        not_negative(average_from=self.average_from)


@dataclass(frozen=True, slots=True)
class Multipliers:
    """The state: [J] `values` and their `averages` in nats per unit, the `updates` of each so far."""

    budgets: tuple[Budget, ...]
    values: tuple[float, ...]
    averages: tuple[float, ...]
    updates: tuple[int, ...]

    def updated(
        self, rates: Sequence[float | None], ascent: Ascent, variances: Sequence[float | None] | None = None
    ) -> Multipliers:
        """After one look at the rates E_π f [J] of the policy (None: not measured, the multiplier stays).

        `variances` [J] of the features under the policy; one of 0 or None leaves its step as it is. Raises
        ObjectiveError for a rate that is no number.
        """
        if len(rates) != len(self.budgets) or (variances is not None and len(variances) != len(self.budgets)):
            raise ObjectiveError(f"there are {len(self.budgets)} limits and {len(rates)} rates")
        values, averages, updates = list(self.values), list(self.averages), list(self.updates)
        for place, (budget, rate) in enumerate(zip(self.budgets, rates, strict=True)):
            if rate is None:
                continue
            if not math.isfinite(rate):
                raise ObjectiveError(f"the rate of the limit `{budget.term}` is {rate}, no number")
            size = ascent.step / (1 + updates[place] / ascent.steady) ** ascent.decay
            spread = None if variances is None else variances[place]
            moved = size * (rate - budget.bound) / (spread or 1.0)
            values[place] = budget.projected(values[place] + min(max(moved, -ascent.largest), ascent.largest))
            counted = updates[place] - ascent.average_from
            averages[place] = (
                values[place] if counted <= 0 else averages[place] + (values[place] - averages[place]) / (counted + 1)
            )
            updates[place] += 1
        return replace(self, values=tuple(values), averages=tuple(averages), updates=tuple(updates))

    def excess(self, rates: Sequence[float | None]) -> tuple[float, ...]:
        """[J] by how much each limit is overstepped, in the unit of its feature; 0 where it is kept or unmeasured."""
        found = []
        for budget, rate in zip(self.budgets, rates, strict=True):
            over = 0.0 if rate is None else rate - budget.bound
            found.append(
                abs(over) if budget.sense == "exactly" else max(over if budget.sense == "at most" else -over, 0)
            )
        return tuple(found)

    def reward(self, soft: Tensor, features: Tensor) -> Tensor:
        """[B] Σ w r − Σ μ f in nats, of `soft` = Σ w r [B] and `features` [B, J] (NaN: does not apply)."""
        import torch

        prices = torch.tensor(self.values, dtype=soft.dtype, device=soft.device)
        return soft - torch.where(torch.isnan(features), 0.0, features * prices).sum(dim=1)


def from_zero(budgets: Sequence[Budget]) -> Multipliers:
    """All multipliers 0: training starts from the law without budgets."""
    return started(budgets, [0.0] * len(budgets))


def started(budgets: Sequence[Budget], values: Sequence[float]) -> Multipliers:
    """From given multipliers [J], nats per unit. Raises ObjectiveError for one that its sense or price forbids."""
    for budget, value in zip(budgets, values, strict=True):
        if not math.isfinite(value) or budget.projected(value) != value:
            raise ObjectiveError(f"the limit `{budget.term}` ({budget.sense}) cannot have the multiplier {value:g}")
    given = tuple(float(value) for value in values)
    return Multipliers(tuple(budgets), given, given, (0,) * len(given))


def from_calibration(record: CalibrationRecord) -> Multipliers:
    """The limits of a calibration with its multipliers; those on each prompt have multipliers of their own there, which
    stay fixed (`record.own()`), and are not among these."""
    shared = [each for each in record.budgets if not each.each_prompt and each.multiplier is not None]
    budgets = [Budget(each.term, _sense(each.sense), each.bound, each.price) for each in shared]
    return started(budgets, [each.multiplier or 0.0 for each in shared])


def _sense(text: str) -> Sense:
    known: dict[str, Sense] = {"at most": "at most", "at least": "at least", "exactly": "exactly"}
    if text not in known:
        raise ObjectiveError(f"a limit has the sense `{text}`")
    return known[text]
