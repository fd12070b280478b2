"""The training loop on models that are enumerated: log-probabilities, laws that are reached, and measured distances."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_worlds import (
    CAP,
    END,
    FIRST_PROMPT,
    LETTERS,
    SPECIAL,
    LetterTokenizer,
    Quiet,
    TableNetwork,
    compiled,
    letters,
    llama,
    log_law,
    log_target,
    prompts,
    responses,
)

from bylaw.runtime.models.huggingface import HuggingFaceModel
from bylaw.runtime.models.interface import FloatArray
from bylaw.runtime.training import loop
from bylaw.runtime.training.distance import distances
from bylaw.runtime.training.experience import Experience
from bylaw.runtime.training.network import PolicyNetwork, TokenRow
from bylaw.runtime.training.processes import Processes
from bylaw.runtime.training.settings import Evaluation, Lora, Optimiser, TrainSettings
from bylaw.runtime.training.train import TrainResult, train_policy

SETTINGS = TrainSettings(
    rounds=8,
    samples=2500,
    epochs=10,
    prompts_per_step=2,
    micro_rows=20_000,
    max_tokens=CAP,
    optimiser=Optimiser(rate=1e-2, schedule="cosine"),
    evaluation=Evaluation(samples=400, law_samples=400, every=0),
)


def trained(
    settings: TrainSettings, out: Path, base: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[TrainResult, HuggingFaceModel]:
    """(what the run reports, the policy that came of it)."""
    kept: list[PolicyNetwork] = []
    begin = loop.Trainer.__init__

    def remember(self: loop.Trainer, job: loop.Job, network: PolicyNetwork, *rest: Any) -> None:
        kept.append(network)
        begin(self, job, network, *rest)

    monkeypatch.setattr(loop.Trainer, "__init__", remember)
    result = train_policy(compiled().require(), prompts(), base, settings, out, Quiet(), **more)
    return result, kept[-1].policy()


def variation(left: FloatArray, right: FloatArray) -> float:
    return float(0.5 * np.abs(np.exp(left) - np.exp(right)).sum())


# -------------------------------------------------------------------------------------------------------- networks
@pytest.mark.parametrize(
    ("temperature", "ends"), [(1.0, {END}), (0.7, {END, SPECIAL})], ids=["one end", "two ends, temperature"]
)
def test_log_probabilities_are_those_of_the_sessions(temperature: float, ends: set[int]) -> None:
    """Responses below the cap and at it, to both prompts, in batches with padding: the sum over the places of each."""
    model = llama(temperature=temperature, ends=frozenset(ends))
    network = PolicyNetwork(model)
    for prompt in (FIRST_PROMPT, FIRST_PROMPT + 1):
        rows = [TokenRow((prompt,), tokens, len(tokens) < CAP) for tokens in responses()]
        found = network.evaluated(rows, 7, Processes()).double().sum(dim=1).numpy()
        assert found == pytest.approx(log_law(model, prompt), abs=1e-5)
    longer = [TokenRow((FIRST_PROMPT, 1, 2), (0, 1), True), TokenRow((FIRST_PROMPT,), (1,), True)]
    both = network.log_probs(longer)
    assert both.shape == (2, 3)
    assert both[1, 2].item() == 0.0
    for row, alone in zip(longer, both, strict=True):
        assert network.log_probs([row])[0].tolist() == pytest.approx(alone[: row.places].tolist(), abs=1e-5)


def test_log_probabilities_of_a_table_are_exact() -> None:
    """Against the same arithmetic on the table itself, to the last bit; the gradient reaches the table."""
    table = TableNetwork(places=CAP + 1)
    network = PolicyNetwork(HuggingFaceModel(table, LetterTokenizer(), letters(), "table", "table", 1.0))
    rows = [TokenRow((FIRST_PROMPT,), tokens, len(tokens) < CAP) for tokens in responses()]
    found = network.log_probs(rows)
    possible = [0, 1, 2, 3, END]
    for row, line in zip(rows, found, strict=True):
        before = [*row.prompt, *row.response]
        said = [*row.response, *([END] if row.ended else [])]
        for place, token in enumerate(said):
            logits = torch.full((1, 8), -torch.inf)
            logits[0, possible] = table.table.detach()[place, before[place], possible]
            assert line[place].item() == torch.log_softmax(logits, dim=1)[0, token].item()
    found.sum().backward()
    weights = network.trained()["table"]
    assert weights.grad is not None
    assert bool((weights.grad[0, FIRST_PROMPT] != 0)[possible].all())
    assert table.table.grad is None  # the base model is another copy


def test_the_policy_starts_as_the_base_model_and_leaves_it_alone() -> None:
    base = llama()
    before = log_law(base, FIRST_PROMPT)
    for network in (PolicyNetwork(base), PolicyNetwork(llama(), Lora(rank=2))):
        assert log_law(network.policy(), FIRST_PROMPT) == pytest.approx(before, abs=1e-6)
        with torch.no_grad():
            for value in network.trained().values():
                value += 0.1
        assert variation(log_law(network.policy(), FIRST_PROMPT), before) > 0.01
        assert log_law(network.reference(), FIRST_PROMPT) == pytest.approx(before, abs=1e-6)
        rows = [TokenRow((FIRST_PROMPT,), tokens, len(tokens) < CAP) for tokens in responses()]
        found = network.evaluated(rows, 8, Processes(), reference=True).double().sum(dim=1).numpy()
        assert found == pytest.approx(before, abs=1e-5)


# ------------------------------------------------------------------------------------------------- what is reached
@pytest.mark.parametrize(
    ("objective", "options", "rate"),
    [("distill", (), 1e-2), ("fdpg", (("divergence", "forward_kl"),), 1e-2)],
    ids=["distill", "fdpg"],
)
def test_the_loop_reaches_the_law(
    objective: str, options: tuple[tuple[str, str], ...], rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Total variation below 1e-2 for both prompts, and reported distances that agree with the enumerated ones."""
    base = llama(seed=3)
    settings = replace(
        SETTINGS, objective=objective, options=options, optimiser=Optimiser(rate, schedule="cosine", warm_up=0)
    )
    result, policy = trained(settings, tmp_path / "out", base, monkeypatch)
    exact: dict[str, list[float]] = {"kl_from_law": [], "kl_to_base": [], "law_kl_to_base": []}
    for prompt in (FIRST_PROMPT, FIRST_PROMPT + 1):
        target, reached, start = log_target(base, prompt), log_law(policy, prompt), log_law(base, prompt)
        assert variation(start, target) > 0.05
        assert variation(reached, target) < 1e-2
        kept = np.isfinite(target)
        law = np.exp(target[kept])
        exact["kl_from_law"].append(float((law * (target - reached)[kept]).sum()))
        exact["law_kl_to_base"].append(float((law * (target - start)[kept]).sum()))
        exact["kl_to_base"].append(float((np.exp(reached) * (reached - start)).sum()))
    for name, values in exact.items():
        told = result.last[name]
        # five standard errors for a handful of comparisons with fixed seeds: a false alarm in 5e-6 of seeds
        assert abs(told["value"] - np.mean(values)) < 5 * told["error"] + 1e-4, (name, told, values)
    assert result.base["kl_to_base"]["value"] == pytest.approx(0.0, abs=1e-5)
    assert result.suspicious == ()


def test_distances_are_right_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 repetitions with few samples against enumeration: means within four standard errors of the mean, and the
    reported errors as large as the spread, to a fifth. The policy keeps the rule, so KL(π‖p*) is finite."""
    rng = np.random.default_rng(5)
    size, draws = 12, 40
    log_p0, log_pi, log_q = (np.log(rng.dirichlet(np.full(size, 3.0))) for _ in range(3))
    reward = rng.normal(size=size)
    reward[:2] = -np.inf
    log_pi[:2] = -np.inf
    log_pi -= np.logaddexp.reduce(log_pi)
    target = log_p0 + reward - np.logaddexp.reduce(log_p0 + reward)
    kept = np.isfinite(target)
    law, policy_law = np.exp(target[kept]), np.exp(log_pi[kept])
    truth = {
        "forward": float((law * (target - log_pi)[kept]).sum()),
        "reverse": float((policy_law * (log_pi - target)[kept]).sum()),
        "base": float((policy_law * (log_pi - log_p0)[kept]).sum()),
        "law": float((law * (target - log_p0)[kept]).sum()),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in truth}
    for _ in range(200):
        q = rng.choice(size, draws, p=np.exp(log_q))
        q = q[np.isfinite(reward[q])]  # what the law forbids is a particle that died
        pi = rng.choice(size, draws, p=np.exp(log_pi))
        told = distances(rows(q, log_p0, log_q, reward, draws), log_pi[q], rows(pi, log_p0, log_pi, reward, draws))
        for name in truth:
            found[name].append((getattr(told, name).value, getattr(told, name).error))
    for name, value in truth.items():
        values, errors = np.array(found[name]).T
        assert abs(values.mean() - value) < 4 * values.std() / len(values) ** 0.5, name
        assert np.sqrt(np.square(errors).mean()) == pytest.approx(values.std(), rel=0.2), name


def rows(chosen: Any, log_p0: FloatArray, log_q: FloatArray, reward: FloatArray, drawn: int) -> Experience:
    nothing = np.zeros((len(chosen), 1))
    return Experience(
        "law", np.zeros(len(chosen), dtype=np.int64), tuple((int(each),) for each in chosen), (True,) * len(chosen),
        ("a",) * len(chosen), log_q[chosen], log_p0[chosen], nothing, reward[chosen][:, None], nothing, nothing,
        np.array([drawn]),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- all together
SMALL = replace(
    SETTINGS, rounds=2, samples=32, epochs=2, prompts_per_step=1, micro_rows=16,
    evaluation=Evaluation(samples=32, law_samples=32, every=1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "options", "rows_of"),
    [
        ("sft", {}, None),
        ("raft", {}, None),
        ("dpo", {}, None),
        ("rloo", {"hard_penalty": "5"}, None),
        ("grpo", {"hard_penalty": "5", "beta": "1"}, None),
        ("fdpg", {}, "policy"),
    ],
)
def test_every_objective_is_trained(
    objective: str, options: dict[str, str], rows_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each breaks the soft rule less often, by enumeration; those whose optimum is p* come nearer to it."""
    settings = replace(
        SMALL, objective=objective, options=tuple(options.items()), rows=rows_of, rounds=6, samples=120, epochs=2,
        prompts_per_step=2, micro_rows=500, optimiser=Optimiser(1e-3, warm_up=0),
        evaluation=Evaluation(samples=40, law_samples=40, every=0),
    )  # fmt: skip
    base = llama(seed=3)
    result, policy = trained(settings, tmp_path / "out", base, monkeypatch)
    broken = np.array(["c" in "".join(LETTERS[token] for token in tokens) for tokens in responses()])
    away, rate = [], []
    for law in (base, policy):
        laws = [log_law(law, FIRST_PROMPT + place) for place in (0, 1)]
        targets = [log_target(base, FIRST_PROMPT + place) for place in (0, 1)]
        away.append(np.mean([variation(*pair) for pair in zip(laws, targets, strict=True)]))
        rate.append(np.mean([np.exp(each[broken]).sum() for each in laws]))
    assert rate[1] < rate[0]
    assert away[1] < away[0] or objective in ("raft", "grpo"), away
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["evaluation", *["round"] * settings.rounds, "evaluation"]
    assert lines[-1]["rules"]["no_ab"]["answers"] == 80
    assert result.position.step == settings.rounds * settings.epochs


def test_adapters_accumulation_and_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters come near the law without touching the base; the saved model is the policy. Micro-batches of any size
    take the same steps to rounding; passes in 16 bits stay close."""
    from transformers import AutoModelForCausalLM

    base = llama(seed=3)
    start = log_law(base, FIRST_PROMPT)
    settings = replace(SMALL, lora=Lora(rank=8), samples=500, epochs=10, optimiser=Optimiser(1e-2, warm_up=0))
    settings = replace(settings, micro_rows=2000, prompts_per_step=2)
    _, policy = trained(settings, tmp_path / "lora", base, monkeypatch)
    target = log_target(llama(seed=3), FIRST_PROMPT)
    reached = log_law(policy, FIRST_PROMPT)
    assert variation(reached, target) < 0.7 * variation(start, target)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "lora" / "model").eval()
    again = HuggingFaceModel(saved, LetterTokenizer(), letters(), "saved", "saved", 1.0)
    assert log_law(again, FIRST_PROMPT) == pytest.approx(reached, abs=1e-4)
    ends = {}
    for name, change in {
        "whole": {"micro_rows": 64},
        "parts": {"micro_rows": 5},
        "bf16": {"precision": "bf16"},
    }.items():
        _, found = trained(replace(SMALL, **change), tmp_path / name, llama(seed=3), monkeypatch)  # type: ignore[arg-type]
        ends[name] = log_law(found, FIRST_PROMPT)
    assert variation(ends["parts"], ends["whole"]) < 1e-3
    assert variation(ends["bf16"], ends["whole"]) < 0.02
