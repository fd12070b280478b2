"""From rows to the batch that an objective takes, and from a batch to the steps of the optimiser."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.enforcement import PromptPlan
from bylaw.runtime.objectives.catalog import Objective
from bylaw.runtime.objectives.errors import NoAllowedSample
from bylaw.runtime.objectives.interface import Batch
from bylaw.runtime.objectives.pairs import preference_pairs
from bylaw.runtime.training.distance import law_weights
from bylaw.runtime.training.errors import NothingToLearn
from bylaw.runtime.training.experience import Experience, broken_by_all
from bylaw.runtime.training.network import PolicyNetwork, TokenRow, by_length, mask_of
from bylaw.runtime.training.processes import Processes
from bylaw.runtime.training.settings import TrainSettings

__all__ = ["Round", "batch_of", "made_round", "micro_batches", "on_device", "step_plan"]


@dataclass(frozen=True, eq=False)
class Round:
    """A prepared batch, with the tokens of its rows by `batch.place`."""

    rows: tuple[TokenRow, ...]
    batch: Batch


def made_round(
    rows: Experience,
    plans: Sequence[PromptPlan],
    program: RewardProgram,
    network: PolicyNetwork,
    objective: Objective,
    settings: TrainSettings,
    processes: Processes,
) -> tuple[Round, Experience]:
    """(what is learnt from in a round; the rows with log p0 where it was evaluated).

    Prompts without a row that the objective can use are left out. Raises NothingToLearn where none is left, which names
    the rules that every row breaks, and ObjectiveError.
    """
    batch, known = batch_of(rows, plans, program, network, objective, settings, processes)
    while True:
        try:
            prepared = objective.prepare(batch)
            break
        except NoAllowedSample as error:
            batch = _without(batch, error.prompts, rows, program)
    if not prepared.rows:
        raise NothingToLearn("no row is left to learn from")
    return Round(tuple(rows.token_rows(plans)), prepared), known


def batch_of(
    rows: Experience,
    plans: Sequence[PromptPlan],
    program: RewardProgram,
    network: PolicyNetwork,
    objective: Objective,
    settings: TrainSettings,
    processes: Processes,
) -> tuple[Batch, Experience]:
    """(everything that is known about the rows, not yet prepared; the rows with log p0).

    Log-probabilities are those of the policy as it is now. Raises NothingToLearn for no rows.
    """
    if not len(rows):
        raise NothingToLearn("the batch is empty: there are no rows to learn from")
    token_rows = rows.token_rows(plans)
    needs = {each for need in objective.needs for each in need.split("|")}
    width = max(row.places for row in token_rows)
    mask = mask_of(token_rows, width)
    now = network.evaluated(token_rows, settings.micro_rows, processes)
    batch = Batch(
        log_probs=now,
        mask=mask,
        prompt=torch.from_numpy(rows.prompt),
        place=torch.arange(len(rows)),
        reward=torch.from_numpy(rows.log_reward),
    )
    if "reference" in needs or rows.source == "policy":
        reference = network.evaluated(token_rows, settings.micro_rows, processes, reference=True)
        batch = replace(batch, reference=reference)
        if rows.source == "policy":
            rows = replace(rows, log_p0=reference.double().sum(dim=1).numpy())
    if rows.source != "data":
        batch = replace(batch, log_weight=torch.from_numpy(rows.log_weight))
    if rows.source == "policy":
        batch = replace(batch, behaviour=now)
    if rows.source == "law":
        batch = replace(batch, log_z=_log_z(rows))
        if objective.rows == "data":  # which takes rows as draws from the law that is to be learnt
            batch = replace(batch, weight=torch.from_numpy(law_weights(rows)).float())
    if "rule_rewards" in needs:
        rewards, weights = rule_rewards(program, rows)
        batch = replace(batch, rule_rewards=rewards, rule_weights=weights)
    return _with_preferences(batch, rows, needs, settings), rows


def rule_rewards(program: RewardProgram, rows: Experience) -> tuple[Tensor, Tensor]:
    """([N, J] rewards by rule, NaN where one does not apply and −inf where a hard one is broken; [J] their weights).

    A rule's weight is that of the policy, in nats; a limit weighs −μ. Where prompts have multipliers of their own the
    reward is in nats already and the weight 1.
    """
    found = np.where(rows.counts > 0, rows.values, np.nan)
    weights = np.ones(len(program.terms))
    for column, term in enumerate(program.terms):
        if term.kind == "hard":
            broken = (rows.counts[:, column] > 0) & (rows.violated[:, column] > 0)
            found[:, column] = np.where(broken, -np.inf, np.where(rows.counts[:, column] > 0, 0.0, np.nan))
        elif term.each_prompt or term.among is not None:
            found[:, column] = np.where(rows.counts[:, column] > 0, rows.factors[:, column], np.nan)
        else:
            weights[column] = -(term.multiplier or 0.0) if term.kind == "budget" else float(term.weight or 0.0)
    return torch.from_numpy(found).float(), torch.from_numpy(weights).float()


def _log_z(rows: Experience) -> Tensor:
    """[N] log mean weight of each row's prompt, dead particles counting zero; nats."""
    found = np.zeros(len(rows))
    weights = rows.log_weight
    for prompt in np.unique(rows.prompt):
        own = rows.prompt == prompt
        found[own] = np.logaddexp.reduce(weights[own]) - np.log(rows.drawn[prompt])
    return torch.from_numpy(found)


def _with_preferences(batch: Batch, rows: Experience, needs: Collection[str], settings: TrainSettings) -> Batch:
    """Pairs and labels: those of the data, or made of rewards."""
    if "pairs" in needs:
        if rows.pairs is not None:
            assert rows.preference is not None
            assert rows.margin is not None
            return replace(
                batch,
                pairs=torch.from_numpy(rows.pairs),
                preference=torch.from_numpy(rows.preference).float(),
                margin=torch.from_numpy(rows.margin).float(),
            )
        if rows.source == "data":
            raise NothingToLearn(f"`{settings.objective}` learns from pairs: give lines with `chosen` and `rejected`")
        assert batch.reward is not None
        assert batch.prompt is not None
        pairs, chance = preference_pairs(batch.reward, batch.prompt, settings.pairs, settings.labels)
        return replace(batch, pairs=pairs, preference=chance.float())
    if "desirable" in needs:
        if rows.desirable is None:
            raise NothingToLearn(f"`{settings.objective}` learns from labelled answers: give lines with `label`")
        return replace(batch, desirable=torch.tensor(rows.desirable))
    return batch


def _without(batch: Batch, numbers: Sequence[int], rows: Experience, program: RewardProgram) -> Batch:
    """The batch without these prompts, by their rank among those that are there. Raises NothingToLearn for no rest."""
    group = batch.prompts()
    kept = ~torch.isin(group, torch.tensor(list(numbers)))
    if not bool(kept.any()):
        terms = broken_by_all(program, rows)
        why = f"every one of {len(rows)} samples breaks {', '.join(f'`{term}`' for term in terms)}" if terms else (
            f"none of {len(rows)} samples keeps every hard rule"
        )  # fmt: skip
        raise NothingToLearn(
            f"{why}: there is nothing to learn from; draw from the regulated decoder (--rows law), which keeps hard "
            "rules by construction, or draw more with --samples",
            terms,
        )
    return batch.take(torch.nonzero(kept)[:, 0])


# ------------------------------------------------------------------------------------------------------------- steps
def step_plan(batch: Batch, epochs: int, prompts_per_step: int, seed: int) -> list[list[int]]:
    """The rows of each step of a round: whole prompts, in an order of its own in each epoch."""
    group = batch.prompts().tolist()
    members: dict[int, list[int]] = {}
    for row, number in enumerate(group):
        members.setdefault(number, []).append(row)
    plan = []
    for epoch in range(epochs):
        order = np.random.default_rng(np.random.SeedSequence((seed, epoch))).permutation(len(members)).tolist()
        for first in range(0, len(order), prompts_per_step):
            plan.append([row for number in order[first : first + prompts_per_step] for row in members[number]])
    return plan


def micro_batches(made: Round, chosen: Sequence[int], size: int) -> list[list[int]]:
    """The rows of a step in parts for the network, of like length; the rows of a pair stay together."""
    batch = made.batch
    assert batch.place is not None
    if batch.pairs is None and batch.desirable is None:
        places = batch.place.tolist()
        parts_of = by_length([made.rows[places[row]] for row in chosen], size)
        return [[chosen[at] for at in part] for part in parts_of]
    group = batch.prompts().tolist()
    by_prompt: dict[int, list[int]] = {}
    for row in chosen:
        by_prompt.setdefault(group[row], []).append(row)
    parts: list[list[int]] = [[]]
    for own in by_prompt.values():
        if parts[-1] and len(parts[-1]) + len(own) > size:
            parts.append([])
        parts[-1] += own
    return parts


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch where the network computes."""
    if device.type == "cpu":
        return batch
    found = {each.name: getattr(batch, each.name) for each in fields(batch)}
    return Batch(**{name: value.to(device) for name, value in found.items() if value is not None})
