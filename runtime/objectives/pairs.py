"""Pairs for preference objectives: from rewards, and with goals that say which of two answers is wanted.

Reward-augmented pairs (Zhang et al. 2024, arXiv:2410.08067): a pair (x, y_w ≻ y_l) with scores becomes two, the first
with the goal r_w and y_w preferred, the second with the goal r_l and y_l preferred. A model trained on both learns what
a score means instead of only what to avoid, and can be asked for any. A pair whose scores are equal has one goal and
would contradict itself: it stays one pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bylaw.runtime.objectives.errors import ObjectiveError

GOAL = "Wanted scores: {scores}."


@dataclass(frozen=True)
class ScoredPair:
    """A prompt, its two answers, and the score of each by rule (any unit; the same rules for both)."""

    prompt: str
    chosen: str
    rejected: str
    chosen_scores: Mapping[str, float]
    rejected_scores: Mapping[str, float]


@dataclass(frozen=True)
class GoalPair:
    """A pair for a prompt with a goal; `goal` is its text, empty where the pair has none."""

    prompt: str
    goal: str
    chosen: str
    rejected: str


def goal_text(scores: Mapping[str, float], template: str = GOAL) -> str:
    """What the goal says, rules in alphabetical order: `Wanted scores: brevity 2, safety 5.`"""
    return template.format(scores=", ".join(f"{rule} {scores[rule]:g}" for rule in sorted(scores)))


def reward_augmented(pairs: Iterable[ScoredPair], template: str = GOAL) -> list[GoalPair]:
    """Two pairs for each, the second the other way round; one without a goal where all scores are the same.

    Raises ObjectiveError for answers that are not scored by the same rules.
    """
    made: list[GoalPair] = []
    for pair in pairs:
        if set(pair.chosen_scores) != set(pair.rejected_scores):
            apart = sorted(set(pair.chosen_scores) ^ set(pair.rejected_scores))
            raise ObjectiveError(f"only one answer of a pair has a score of `{apart[0]}`; both must have one")
        if pair.chosen_scores == pair.rejected_scores:
            made.append(GoalPair(pair.prompt, "", pair.chosen, pair.rejected))
            continue
        made.append(GoalPair(pair.prompt, goal_text(pair.chosen_scores, template), pair.chosen, pair.rejected))
        made.append(GoalPair(pair.prompt, goal_text(pair.rejected_scores, template), pair.rejected, pair.chosen))
    return made


def preference_pairs(
    reward: Tensor,
    group: Tensor,
    which: Literal["all", "extremes"] = "all",
    labels: Literal["law", "certain"] = "law",
    least_margin: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Pairs [P, 2] of rows of the same prompt, the better first, and their labels [P], from rewards [B] in nats.

    `extremes`: only the best against the worst of each prompt. `law`: the label is σ(R_i − R_j), with which the optimum
    of DPO with β = 1 is p*; `certain`: 1. Pairs that differ by no more than `least_margin` nats are left out, as
    are those of two rows that both break hard rules. Raises ObjectiveError where no pair is left.
    """
    if bool((torch.isnan(reward) | (reward == torch.inf)).any()):
        raise ObjectiveError("a reward is no number of nats; pairs cannot be made of it")
    found: list[Tensor] = []
    for prompt in torch.unique(group):
        rows = torch.nonzero(group == prompt)[:, 0]
        if which == "extremes":
            found.append(torch.stack([rows[reward[rows].argmax()], rows[reward[rows].argmin()]])[None])
        else:
            found.append(torch.combinations(rows, 2) if rows.numel() > 1 else rows.new_zeros((0, 2)))
    pairs = torch.cat(found)
    first, second = reward[pairs[:, 0]], reward[pairs[:, 1]]
    pairs = torch.where((second > first)[:, None], pairs.flip(1), pairs)
    gap = torch.where(torch.isfinite(torch.maximum(first, second)), (first - second).abs(), -1.0)
    kept = gap > least_margin if least_margin or which == "extremes" else gap >= 0
    if not bool(kept.any()):
        raise ObjectiveError("no two samples of a prompt differ in reward: there is no pair to learn from")
    chance = torch.sigmoid(gap[kept]) if labels == "law" else torch.ones_like(gap[kept])
    return pairs[kept], chance
