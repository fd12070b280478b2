"""All that one call of `bylaw price` found: as sections, as JSON values and as plots."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bylaw.runtime.prices.curve import Curve
from bylaw.runtime.prices.interactions import Interactions, Pair
from bylaw.runtime.prices.table import PriceTable
from bylaw.runtime.prices.what_if import WhatIf
from bylaw.runtime.record import writable
from bylaw.runtime.report.price_page import Section, curve_sections, price_sections, what_if_sections

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Answer:
    """What was asked for; None for the rest. `digest` is that of the rules."""

    policy: str
    digest: str
    model: str
    prompts: str
    table: PriceTable | None = None
    interactions: Interactions | None = None
    curve: Curve | None = None
    what_if: WhatIf | None = None

    def sections(self) -> tuple[Section, ...]:
        """In the order in which people read them."""
        found: list[Section] = []
        if self.table is not None and self.interactions is not None:
            found += price_sections(self.policy, self.table, self.interactions)
        if self.curve is not None:
            found += curve_sections(self.curve)
        if self.what_if is not None:
            found += what_if_sections(self.what_if)
        return tuple(found)

    def as_json(self) -> str:
        """JSON text; a number that JSON cannot write is a text, as in the records of runs."""
        data: dict[str, Any] = {
            "policy": self.policy,
            "rules": self.digest,
            "model": self.model,
            "prompts": self.prompts,
        }
        if self.table is not None:
            data["prices"] = asdict(self.table)
        if self.interactions is not None:
            data["interactions"] = _matrix(self.interactions)
        if self.curve is not None:
            data["tradeoff"] = asdict(self.curve)
        if self.what_if is not None:
            data["what_if"] = asdict(self.what_if)
        return json.dumps(writable(data), ensure_ascii=False, indent=2, allow_nan=False)

    def figures(self) -> dict[str, Figure]:
        """Plots by name, as far as there is something to draw."""
        from bylaw.runtime.report.price_plots import curve_figures, price_figures, what_if_figures

        found: dict[str, Figure] = {}
        if self.table is not None and self.interactions is not None:
            found |= price_figures(self.table, self.interactions)
        if self.curve is not None:
            found |= curve_figures(self.curve)
        if self.what_if is not None:
            found |= what_if_figures(self.what_if)
        return found


def _matrix(found: Interactions) -> dict[str, Any]:
    def pairs(which: tuple[Pair, ...]) -> list[dict[str, Any]]:
        return [asdict(pair) for pair in which]

    return {
        "terms": list(found.terms),
        "covariance": found.covariance.tolist(),
        "covariance_error": found.error.tolist(),
        "correlation": found.correlation.tolist(),
        "correlation_error": found.correlation_error.tolist(),
        "pull_against_each_other": pairs(found.tension),
        "help_each_other": pairs(found.support),
        "pairs": found.pairs,
    }
