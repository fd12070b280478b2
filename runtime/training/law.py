"""The law as a run needs it: the program with the multipliers of the moment, decoding tasks for them, the ascent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration.problem import BudgetProblem, budget_problem
from bylaw.runtime.enforcement import PromptPlan, decode_tasks
from bylaw.runtime.generation.prepare import Prepared
from bylaw.runtime.models.interface import FloatArray, LanguageModel
from bylaw.runtime.objectives.dual_ascent import Ascent, Budget, Multipliers, started
from bylaw.runtime.training.distance import law_weights
from bylaw.runtime.training.experience import Experience
from bylaw.runtime.training.settings import TrainSettings


@dataclass
class LawSource:
    """p* for the prompts of `prepared`, under multipliers that may move. `base` is the base model."""

    prepared: Prepared
    base: LanguageModel
    max_tokens: int
    _known: Mapping[str, float] | None = None

    @property
    def plans(self) -> tuple[PromptPlan, ...]:
        """The prompts with their terms."""
        return self.prepared.plans

    def program(self, multipliers: Mapping[str, float]) -> RewardProgram:
        """The program with these multipliers, nats."""
        return self.prepared.program.with_multipliers(dict(multipliers))

    def at(self, multipliers: Mapping[str, float]) -> Prepared:
        """The prompts with decoding tasks for these multipliers; what does not depend on them is not built again."""
        if self._known != multipliers:
            if self._known is not None:
                tasks = decode_tasks(
                    self.plans, self.prepared.base, self.base, multipliers, self.max_tokens,
                    compiler=self.prepared.compiler,
                )  # fmt: skip
                self.prepared = replace(self.prepared, tasks=tuple(tasks))
            self._known = dict(multipliers)
        return self.prepared


@dataclass(frozen=True)
class Climb:
    """Dual ascent on the limits that all prompts share; `step` None: multipliers stay."""

    problem: BudgetProblem
    ascent: Ascent | None
    start: Multipliers

    @classmethod
    def of(
        cls,
        program: RewardProgram,
        plans: Sequence[PromptPlan],
        multipliers: Mapping[str, float],
        settings: TrainSettings,
    ) -> Climb:
        """The limits of `program` that concern some prompt, from these multipliers."""
        problem, _ = budget_problem(program, plans)
        budgets, values = [], []
        for term, bound, price in zip(problem.terms, problem.bounds, problem.price, strict=True):
            if not term.each_prompt:
                assert term.sense is not None
                sense: Any = term.sense
                budgets.append(Budget(term.id, sense, bound, price if np.isfinite(price) else None))
                values.append(multipliers.get(term.id, 0.0))
        ascent = None if settings.ascent is None else Ascent(step=settings.ascent)
        return cls(problem, ascent, started(budgets, values))

    def read(self, state: Mapping[str, Any] | None) -> Multipliers:
        """The state of the ascent from JSON values, or its start."""
        if state is None:
            return self.start
        return replace(
            self.start,
            values=tuple(state["values"]),
            averages=tuple(state["averages"]),
            updates=tuple(state["updates"]),
        )

    def after(self, now: Multipliers, rows: Experience) -> Multipliers:
        """One step, from the rates of rows of the law (weighted) or of the policy."""
        if self.ascent is None or not now.budgets:
            return now
        features = self.problem.features(rows.values, rows.counts > 0)
        shared = [place for place, term in enumerate(self.problem.terms) if not term.each_prompt]
        weights: FloatArray = law_weights(rows) if rows.source == "law" else np.ones(len(rows))
        weights = weights / weights.sum()
        means = [float((weights * features[:, place]).sum()) for place in shared]
        spreads = [
            float((weights * np.square(features[:, place] - mean)).sum())
            for place, mean in zip(shared, means, strict=True)
        ]
        return now.updated(means, self.ascent, spreads)


def as_json(now: Multipliers) -> dict[str, Any]:
    """The state of the ascent as JSON values."""
    return {"values": list(now.values), "averages": list(now.averages), "updates": list(now.updates)}


def by_term(now: Multipliers) -> dict[str, float]:
    """Multipliers in nats by term id."""
    return {budget.term: value for budget, value in zip(now.budgets, now.values, strict=True)}
