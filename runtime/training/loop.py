"""The loop: rounds of rows and steps of the optimiser, for any objective, from any checkpoint.

Whatever happens in a run is a function of its settings and of its position, so a run that was interrupted anywhere ends
with the very weights of one that was not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.enforcement import PromptPlan, Stages
from bylaw.runtime.objectives.catalog import Objective
from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.runtime.training import checkpoint, metrics
from bylaw.runtime.training.batches import Round, made_round, micro_batches, on_device, step_plan
from bylaw.runtime.training.checkpoint import Position
from bylaw.runtime.training.distance import distances
from bylaw.runtime.training.errors import Diverged
from bylaw.runtime.training.experience import (
    EVALUATE,
    HELD_OUT,
    TRAIN,
    Experience,
    from_law,
    from_policy,
    rates,
    seed_of,
)
from bylaw.runtime.training.law import Climb, LawSource, as_json, by_term
from bylaw.runtime.training.network import PolicyNetwork
from bylaw.runtime.training.processes import Processes
from bylaw.runtime.training.settings import RowSource, TrainSettings

ORDER = 104
"""What a seed is for, beside those of `experience`."""


@dataclass(frozen=True, eq=False)
class Job:
    """All that a run is made of. `chosen` and `evaluated`: places of the prompts to train and to measure on among
    those of `law`. `data`: rows of a file with their prompts, where these are learnt from. `identity`: hexadecimal."""

    settings: TrainSettings
    objective: Objective
    source: RowSource
    law: LawSource
    climb: Climb
    chosen: tuple[int, ...]
    evaluated: tuple[int, ...]
    folder: Path
    identity: str
    multipliers: Mapping[str, float]
    data: tuple[tuple[PromptPlan, ...], Experience] | None = None


class Trainer:
    """One run of a job, from its newest checkpoint where there is one."""

    def __init__(self, job: Job, network: PolicyNetwork, processes: Processes, stages: Stages) -> None:
        self.job, self.network, self._processes, self._stages = job, network, processes, stages
        self._parameters = network.trained()
        self._optimiser = _optimiser(self._parameters, job.settings)
        self.remarks: list[str] = []
        self._round: Round | None = None
        self._drawn: Experience | None = None
        self._held_out: Experience | None = None
        self.position = Position(multipliers=dict(job.multipliers))
        loaded, passed_over = checkpoint.newest(self._folder, job.identity)
        self.remarks += passed_over
        if loaded is not None:
            self._restore(loaded)
        self._metrics = metrics.Metrics(job.folder, self.position.lines) if processes.is_first else None

    @property
    def _folder(self) -> Path:
        return self.job.folder / "checkpoints"

    @property
    def program(self) -> RewardProgram:
        """The program with the multipliers of the moment."""
        return self.job.law.program(self.position.multipliers or {})

    def run(self) -> Position:
        """To the end, or to an early one. Raises TrainingError, ObjectiveError, and what sampling raises."""
        settings = self.job.settings
        torch.manual_seed(settings.seed)
        if self.position.base is None:
            found = self.evaluate({})
            self._write("evaluation", found)
            self._move(base=found, last=found)
        while self.position.round < settings.rounds and self.position.stopped is None:
            if self._round is None:
                self._begin()
            self._train()
            self._end()
        if self._metrics is not None:
            self._metrics.close()
        return self.position

    # ------------------------------------------------------------------------------------------------------- rounds
    def _begin(self) -> None:
        """Rows for a round, and the batch that is made of them."""
        job, settings, number = self.job, self.job.settings, self.position.round
        rows = self._rows(number)
        plans = job.law.plans if job.data is None else job.data[0]
        self._round, rows = made_round(
            rows, plans, self.program, self.network, job.objective, settings, self._processes
        )
        climbed = job.climb.after(job.climb.read(self.position.ascent), rows)
        for remark in rows.remarks:
            if remark not in self.remarks:
                self.remarks.append(remark)
        pending = {
            "round": number,
            "rows": len(rows),
            "learnt_from": self._round.batch.rows,
            "rates": rates(self.program, rows),
            "reward": metrics.finite(_mean_finite(rows.log_reward)),
            "multipliers": dict(self.position.multipliers or {}),
            "next": as_json(climbed),
        }
        self._move(within=0, totals={}, pending=pending)

    def _rows(self, number: int) -> Experience:
        job, settings = self.job, self.job.settings
        if job.data is not None:
            return job.data[1]
        now = dict(self.position.multipliers or {})
        if job.source == "policy":
            rows = from_policy(
                self.program, job.law.plans, self.network.policy(), self._prompts(number), settings.samples,
                settings.max_tokens, seed_of(settings.seed, TRAIN, number), self._stages, self._processes,
            )  # fmt: skip
            self._move(passes=self.position.passes + rows.passes, proposal=now)
            return rows
        block = number - number % settings.redraw
        if self._drawn is None or number == block:
            proposal = now if number == block else dict(self.position.proposal or {})
            drawn = from_law(
                job.law.at(proposal), job.law.program(proposal), job.law.base, self._prompts(block), settings.samples,
                settings.max_tokens, seed_of(settings.seed, TRAIN, block), self._stages, self._processes,
            )  # fmt: skip
            self._drawn = drawn
            if number == block:
                self._move(passes=self.position.passes + drawn.passes, proposal=proposal)
        return self._drawn.rescored(self.program, job.law.plans)

    def _prompts(self, number: int) -> list[int]:
        """The prompts of a round: all, or so many, each as often as any other."""
        chosen, size = self.job.chosen, self.job.settings.prompts_per_round
        if size is None or size >= len(chosen):
            return list(chosen)
        places = range(number * size, (number + 1) * size)
        order = {
            lap: np.random.default_rng(seed_of(self.job.settings.seed, ORDER + 1, lap)).permutation(len(chosen))
            for lap in {place // len(chosen) for place in places}
        }
        return sorted({chosen[int(order[place // len(chosen)][place % len(chosen)])] for place in places})

    def _train(self) -> None:
        settings, made = self.job.settings, self._round
        assert made is not None
        plan = step_plan(
            made.batch, settings.epochs, settings.prompts_per_step, seed_of(settings.seed, ORDER, self.position.round)
        )
        self._stages.stage(f"round {self.position.round + 1} of {settings.rounds}", len(plan))
        for at in range(self.position.within, len(plan)):
            self._step(made, plan[at])
            self._move(step=self.position.step + 1, within=at + 1)
            if self.position.step % settings.checkpoint_every == 0:
                self._save()
            self._stages.progress(at + 1, len(plan))

    def _step(self, made: Round, chosen: Sequence[int]) -> None:
        """One step of the optimiser on these rows of the batch, in micro-batches shared out to processes."""
        objective, device, batch = self.job.objective, self.network.device, made.batch
        width = int(batch.mask.shape[1])
        parts = [
            on_device(batch.take(torch.tensor(part)), device)
            for part in micro_batches(made, chosen, self.job.settings.micro_rows)
        ]
        counts: dict[str, Tensor] = {}
        for part in parts:
            for name, count in objective.counts(part).items():
                counts[name] = counts.get(name, torch.zeros((), dtype=count.dtype, device=device)) + count
        totals = dict(self.position.totals or {})
        if not all(bool(count > 0) for count in counts.values()):
            _add(totals, "steps_without_rows", 1.0, 1.0)
            self._move(totals=totals)
            return
        sums: dict[str, list[float]] = {}
        for number, part in enumerate(parts):
            if number % self._processes.count == self._processes.rank:
                assert part.place is not None
                rows = [made.rows[place] for place in part.place.tolist()]
                loss = objective.loss(replace(part, log_probs=self.network.log_probs(rows, width)))
                try:
                    loss.require_finite()
                except ObjectiveError as error:
                    raise self._diverged(str(error)) from None
                loss.value(counts).backward()
                told = {**{f"loss_{name}": ratio for name, (_, ratio) in loss.parts.items()}, **loss.metrics}
                for name, ratio in told.items():
                    pair = sums.setdefault(name, [0.0, 0.0])
                    pair[0] += float(ratio.total.detach())
                    pair[1] += float(ratio.count)
        for own in self._processes.gather([sums]):
            for name, (total, count) in own.items():
                _add(totals, name, total, count)
        norm = self._update(list(self._parameters.values()))
        _add(totals, "gradient_norm", norm, 1.0)
        self._move(totals=totals)

    def _update(self, parameters: list[Tensor]) -> float:
        """Moves the weights by their gradients; the norm of these before clipping. Raises Diverged."""
        self._processes.sum_gradients(parameters)
        chosen = self.job.settings.optimiser
        limit = float("inf") if chosen.clip is None else chosen.clip
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
        if not np.isfinite(norm):
            raise self._diverged(f"the gradient has the norm {norm}")
        for group in self._optimiser.param_groups:
            group["lr"] = chosen.rate_at(self.position.step, self.steps)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return norm

    @property
    def steps(self) -> int:
        """Steps of the whole run, where no prompt is left out."""
        settings = self.job.settings
        prompts = len(self.job.data[0]) if self.job.data is not None else len(self._prompts(0))
        return settings.rounds * settings.epochs * -(-prompts // settings.prompts_per_step)

    def _diverged(self, why: str) -> Diverged:
        saved = sorted(path.name for path in self._folder.glob("step-*")) if self._folder.is_dir() else []
        kept = f"the last checkpoint, `{self._folder / saved[-1]}`, is whole" if saved else "nothing was written"
        return Diverged(
            f"step {self.position.step + 1}: {why}; {kept}. Lower the learning rate, or clip ratios or rewards harder"
        )

    def _end(self) -> None:
        """Reports a round, moves the multipliers, measures, and saves."""
        settings, told = self.job.settings, dict(self.position.pending or {})
        following = self.job.climb.read(told.pop("next"))
        totals = self.position.totals or {}
        means = {name: metrics.finite(total / count) for name, (total, count) in totals.items() if count}
        self._write("round", {**told, **means, "passes": self.position.passes})
        multipliers = {**(self.position.multipliers or {}), **by_term(following)}
        self._round = None
        self._move(
            round=self.position.round + 1, within=0, totals=None, pending=None,
            multipliers=multipliers, ascent=as_json(following),
        )  # fmt: skip
        is_last = self.position.round >= settings.rounds
        every = settings.evaluation.every
        if is_last or (every and self.position.round % every == 0):
            base = self.position.base or {}
            found = self.evaluate(
                {name: rule["rate"] for name, rule in base["rules"].items() if rule["rate"] is not None}
            )
            self._write("evaluation", found)
            self._move(last=found, stopped=None if is_last else _early_stop(found, settings))
        self._save()

    # ---------------------------------------------------------------------------------------------------- measuring
    def evaluate(self, base_rates: Mapping[str, float]) -> dict[str, Any]:
        """The policy as it is, on rows that it never learns from; see `metrics.measured`."""
        job, settings = self.job, self.job.settings
        wanted, plans = settings.evaluation, job.law.plans
        if self._held_out is None:
            self._held_out = from_law(
                job.law.at(job.multipliers), job.law.program(job.multipliers), job.law.base, list(job.evaluated),
                wanted.law_samples, settings.max_tokens, seed_of(settings.seed, HELD_OUT, 0), self._stages,
                self._processes,
            )  # fmt: skip
        held_out = self._held_out.rescored(self.program, plans)
        policy = from_policy(
            self.program, plans, self.network.policy(), list(job.evaluated), wanted.samples, settings.max_tokens,
            seed_of(settings.seed, EVALUATE, 0), self._stages, self._processes,
        )  # fmt: skip
        size = settings.micro_rows
        of_base = self.network.evaluated(policy.token_rows(plans), size, self._processes, reference=True, exact=True)
        policy = replace(policy, log_p0=of_base.double().sum(dim=1).numpy())
        of_law = self.network.evaluated(held_out.token_rows(plans), size, self._processes, exact=True)
        found = distances(held_out, of_law.double().sum(dim=1).numpy(), policy)
        return metrics.measured(self.program, policy, held_out, found, base_rates, settings.bounds)

    # -------------------------------------------------------------------------------------------------------- state
    def _move(self, **changes: Any) -> None:
        self.position = self.position.moved(**changes)

    def _write(self, kind: str, values: Mapping[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.add(kind, self.position.step, values)
        self._move(lines=self.position.lines + 1)

    def _save(self) -> None:
        if self._processes.is_first:
            states = {
                f"{name}|{part}": value
                for name, parameter in self._parameters.items()
                for part, value in self._optimiser.state.get(parameter, {}).items()
            }
            checkpoint.write(
                self._folder, self.job.identity, self.position, self._parameters, states, self._round,
                self.job.settings.keep_checkpoints,
            )  # fmt: skip
        self._processes.wait()

    def _restore(self, loaded: checkpoint.Loaded) -> None:
        self.network.load(loaded.weights)
        self.position, self._round = loaded.position, loaded.round
        for name, parameter in self._parameters.items():
            state = {
                key.rpartition("|")[2]: value.to(parameter.device if value.dim() else "cpu")
                for key, value in loaded.optimiser.items()
                if key.rpartition("|")[0] == name
            }
            if state:
                self._optimiser.state[parameter] = state


def _optimiser(parameters: Mapping[str, Tensor], settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices but neither norms nor biases."""
    chosen = settings.optimiser
    groups = [
        {"params": [value for value in parameters.values() if value.dim() >= 2], "weight_decay": chosen.weight_decay},
        {"params": [value for value in parameters.values() if value.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=chosen.rate, betas=(chosen.beta1, chosen.beta2), eps=chosen.epsilon,
    )  # fmt: skip


def _early_stop(found: Mapping[str, Any], settings: TrainSettings) -> str | None:
    """Why a run ends before its time."""
    bounds, base, distance = settings.bounds, found["kl_to_base"]["value"], found["kl_from_law"]
    if bounds.kl is not None and base is not None and base > bounds.kl:
        return f"KL to the base model is {base:.3g} nats, beyond {bounds.kl:g}"
    if bounds.distance is not None and distance["value"] is not None and distance["value"] <= bounds.distance:
        return f"KL from the law is {distance['value']:.3g} nats, within {bounds.distance:g}"
    return None


def _add(totals: dict[str, tuple[float, float]], name: str, total: float, count: float) -> None:
    before = totals.get(name, (0.0, 0.0))
    totals[name] = (before[0] + total, before[1] + count)


def _mean_finite(values: Any) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")
