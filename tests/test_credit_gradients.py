"""Policy gradients with credit for tokens against the gradient of the exact objective, by enumeration, to 1e-9."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest

torch = pytest.importorskip("torch", reason="objectives need the extra `models`")

from enumerated import REAL, World, gradient_of, minimised, total_variation  # noqa: E402
from tinylanguage import Tiny  # noqa: E402

from bylaw.compiler.evaluate import evaluate  # noqa: E402
from bylaw.compiler.pipeline import compile_source  # noqa: E402
from bylaw.runtime.credit import Outlooks, Placement, credit, shaped  # noqa: E402
from bylaw.runtime.credit.advantages import token_advantages, token_loss  # noqa: E402
from bylaw.runtime.credit.rows import row_rewards  # noqa: E402
from bylaw.runtime.enforcement import plan_prompts, score_samples  # noqa: E402
from bylaw.runtime.objectives.interface import Batch  # noqa: E402
from bylaw.runtime.objectives.policy_gradient import sequence_loss  # noqa: E402
from bylaw.runtime.objectives.ppo import generalised_advantages, token_rewards  # noqa: E402
from bylaw.spec.source import Source  # noqa: E402
from bylaw.spec.trace import Message, Trace  # noqa: E402
from tinymodels import TabularModel  # noqa: E402

EXACT = 1e-9
PENALTY = 3.0
ASKED = Trace((Message("user", "Is the ferry late?"),))
POLICY = """policy ferry version "1"
levels root > user
rule soon at root { should not contain "ab" weight 2 }
rule ends_b at root { should end with "b" weight 1.5 }
rule brief at root { prefer lower number of words in response weight 0.4 }
rule parts at root { every sentence of response should have at most 1 words weight 1 }
rule spaced at root { limit response contains "a a" to at most 10% of responses }
rule no_ba at root { must not contain "ba" }
rule a_word at root { must have at least 1 words }
"""
Tensor = torch.Tensor


@cache
def program():  # type: ignore[no-untyped-def]
    return compile_source(Source.of("ferry.bylaw", POLICY)).require().with_multipliers({"spaced": 0.9})


def rule(data: bytes) -> float:
    """R(y) with the penalty, by the reference evaluator on the whole text; bytes that are no text are forbidden."""
    try:
        found = evaluate(program(), ASKED.answered(data.decode()))
    except UnicodeDecodeError:
        return -PENALTY
    return float(found.reward or 0.0) if found.allowed else -PENALTY


@cache
def world() -> World:
    return World(TabularModel(b"ab \xc3", max_tokens=4, seed=4), rule)


@cache
def rewards(placement: Placement) -> Tensor:
    """[Y, T] nats."""
    found, outlooks = torch.zeros(world().mask.shape, dtype=REAL), Outlooks()
    for row, response in enumerate(world().responses):
        pieces: list[bytes | None] = [world().model.vocabulary[token] for token in response]
        if len(response) < world().model.max_tokens:
            pieces.append(None)
        each = credit(program(), ASKED, pieces, placement=placement, hard_penalty=PENALTY, outlooks=outlooks)
        found[row, : len(pieces)] = torch.tensor(each.rewards)
    return found


def on_policy(logits: Tensor) -> Batch:
    """Every response, weighted by its probability: the mean over fresh samples."""
    law = world().log_law(logits).detach().exp()
    return world().batch(logits, behaviour=world().token_log_probs(logits).detach(), weight=law)


def objective(logits: Tensor, beta: float = 1.0) -> Tensor:
    """−E R + β KL(π‖p0), by definition."""
    law = world().log_law(logits)
    return -(law.exp() * (world().reward - beta * (law - world().log_base))).sum()


def by_token(logits: Tensor, each: Tensor, beta: float = 1.0) -> Tensor:
    batch = on_policy(logits)
    batch = replace(batch, advantage=token_advantages(batch, each, beta, baseline="none"))
    return gradient_of(token_loss(batch).value(), logits)


def test_rewards_of_tokens_sum_to_those_of_responses_and_both_kinds_occur() -> None:
    for placement in ("prefixes", "spans"):
        assert rewards(placement).sum(dim=1).tolist() == pytest.approx(world().reward.tolist(), abs=1e-12)  # type: ignore[arg-type]
    assert 0.1 < float((world().reward == -PENALTY).double().mean()) < 0.9
    assert float((rewards("prefixes")[:, 0] != 0).double().mean()) > 0.1  # not all of it is at the end


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_rewards_to_go_have_the_expected_gradient_of_the_reward_of_the_whole(beta: float) -> None:
    logits = world().start(seed=1).requires_grad_()
    wanted = gradient_of(objective(logits, beta), logits)
    assert by_token(logits, rewards("prefixes"), beta) == pytest.approx(wanted, abs=EXACT)
    # and so has the estimator for whole responses
    batch = on_policy(logits)
    whole = world().reward - beta * (world().log_law(logits).detach() - world().log_base)
    found = gradient_of(sequence_loss(replace(batch, advantage=whole), None, None).value(), logits)
    assert found == pytest.approx(wanted, abs=EXACT)


def test_spans_as_rewards_to_go_have_another_one() -> None:
    """What the text behind a token decides is no reward of that token: to drop it from those before biases them."""
    logits = world().start(seed=1).requires_grad_()
    wanted = gradient_of(objective(logits), logits)
    gap = (by_token(logits, rewards("spans")) - wanted).abs().max()
    assert float(gap) > 1e-3


def test_the_variance_is_less() -> None:
    """Of one sample's gradient. A logit has a prefix and a token, so that tokens of a response do not overlap, and
    ‖Σ_t a_t ∇ log π(y_t|h_t)‖² = Σ_t a_t² ‖e(y_t) − π(·|h_t)‖²."""
    logits = world().start(seed=1).requires_grad_()
    law = logits.detach().softmax(dim=1)
    norms = torch.zeros(world().mask.shape, dtype=REAL)
    for row, response in enumerate(world().responses):
        for place in range(int(world().mask[row].sum())):
            here = law[world().prefixes[response[:place]]]
            token = (*response, world().model.eos_id)[place]
            norms[row, place] = 1 - 2 * here[token] + (here**2).sum()
    batch = on_policy(logits)
    mean = gradient_of(objective(logits), logits)

    def variance(advantage: Tensor) -> float:
        return float((batch.weights() * (advantage**2 * norms).sum(dim=1)).sum() - (mean**2).sum())

    token = variance(token_advantages(batch, rewards("prefixes"), 1.0, baseline="none"))
    whole = token_rewards(batch, world().reward, 1.0).sum(dim=1, keepdim=True).expand_as(batch.mask)
    assert 0 < token < 0.9 * variance(whole)


def test_any_potential_of_the_prefix_leaves_the_gradient_and_the_optimum() -> None:
    """Ng, Harada and Russell (1999), for returns that hold the KL: the optimum stays p*."""
    chance = torch.Generator().manual_seed(8)
    potential = {prefix: float(torch.randn((), generator=chance, dtype=REAL)) for prefix in world().prefixes}
    moved = torch.zeros_like(rewards("prefixes"))
    for row, response in enumerate(world().responses):
        count = int(world().mask[row].sum())
        values = [potential[response[:place]] for place in range(count)]
        moved[row, :count] = torch.tensor(
            shaped(rewards("prefixes")[row, :count].numpy(), torch.tensor(values, dtype=REAL).numpy())
        )
    assert (moved - rewards("prefixes")).abs().max() > 0.5
    logits = world().start(seed=2).requires_grad_()
    assert by_token(logits, moved) == pytest.approx(gradient_of(objective(logits), logits), abs=EXACT)
    # every sum moves by the same −Φ of the empty prefix, which the law does not see
    assert moved.sum(dim=1) == pytest.approx(world().reward - potential[()], abs=EXACT)
    assert (world().log_base + moved.sum(dim=1)).log_softmax(0) == pytest.approx(world().target(), abs=EXACT)


def test_training_on_tokens_reaches_the_law() -> None:
    """L-BFGS on the gradient of the stand-in; the line search goes by the objective itself."""

    def stand_in(logits: Tensor) -> Tensor:
        batch = on_policy(logits)
        return token_loss(replace(batch, advantage=token_advantages(batch, rewards("prefixes"), 1.0, "none"))).value()

    reached = minimised(stand_in, world().start(seed=5), steps=100, value=objective)
    assert total_variation(world().log_law(reached), world().target()) < 1e-3


def test_baselines_are_of_rows_and_what_is_off_the_mask_is_nothing() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    log_probs = torch.full((2, 3), -1.0, dtype=REAL)
    batch = Batch(log_probs, mask, reference=log_probs - 0.5, behaviour=log_probs)
    given = torch.tensor([[1.0, 2.0, math.nan], [0.0, 0.0, 6.0]], dtype=REAL)
    found = token_advantages(batch, given, beta=1.0, baseline="leave_one_out")
    # rewards less 0.5 a token: (0.5, 1.5) and (−0.5, −0.5, 5.5); the other row's sum is the baseline
    assert found.flatten().tolist() == pytest.approx([2.0 - 4.5, 1.5 - 4.5, 0.0, 4.5 - 2.0, 5.0 - 2.0, 5.5 - 2.0])


def test_proximal_policy_optimisation_takes_them_too() -> None:
    """With a critic of 0 and no discount its advantages are the rewards to go."""
    logits = world().start(seed=1)
    batch = on_policy(logits)
    none = torch.zeros(batch.rows, dtype=REAL)
    each = token_rewards(batch, none, 1.0) + rewards("prefixes")
    found, _ = generalised_advantages(each, torch.zeros_like(each), batch.mask, 1.0, 1.0)
    assert found == pytest.approx(token_advantages(batch, rewards("prefixes"), 1.0, "none"), abs=EXACT)


def test_rows_of_a_batch_have_the_rewards_that_the_trainer_scores() -> None:
    """Against `score_samples`, for a prompt with its own multiplier; rows of the batch are as wide as the longest."""
    model = Tiny(TabularModel(b"ab c", max_tokens=5, seed=1))
    prompts = [Trace((Message("user", "0"),), id="a"), Trace((Message("user", "1 ferry"),), id="b")]
    policy = compile_source(
        Source.of(
            "ferry.bylaw", POLICY + 'rule here at root { when prompt contains "ferry" should contain "c" weight 1 }'
        )
    ).require()
    plans = list(plan_prompts(policy, prompts, model, 5))
    plans[1] = replace(plans[1], own=(("spaced", 2.5),))
    tokens = [(0, 2, 0), (1, 0), (0, 1, 3, 2, 1), (3,), (0, 2, 0), ()]
    prompt, ended = [0, 0, 1, 1, 1, 0], [True, True, False, True, True, True]
    found = row_rewards(plans, prompt, tokens, ended, model.vocabulary, {"spaced": 0.9})
    assert found.shape == (6, 5)
    priced = policy.with_multipliers({"spaced": 0.9})
    wanted = [
        float(score_samples(priced, plans[at], [model.vocabulary.text(each)]).factors.sum())
        for at, each in zip(prompt, tokens, strict=True)
    ]
    assert found.sum(axis=1).tolist() == pytest.approx(wanted, abs=1e-12)
    assert sorted(map(math.isinf, wanted)) == [False] * 4 + [True] * 2
    assert found[3, 2:].tolist() == [0.0, 0.0, 0.0]
