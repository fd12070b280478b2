"""What each published method promises, with its numbers, on worlds that are small enough to be exact."""

import math

import pytest

torch = pytest.importorskip("torch", reason="objectives need the extra `models`")

from enumerated import REAL, World, gradient_of, minimised, total_variation  # noqa: E402

from bylaw.runtime.objectives import catalog, votes  # noqa: E402
from bylaw.runtime.objectives.endogenous import discounted_sums, endogenous_rewards, soft_values  # noqa: E402
from bylaw.runtime.objectives.errors import NoAllowedSample, ObjectiveError  # noqa: E402
from bylaw.runtime.objectives.grpo import relative_advantages  # noqa: E402
from bylaw.runtime.objectives.interface import Batch  # noqa: E402
from bylaw.runtime.objectives.kto import reference_point  # noqa: E402
from bylaw.runtime.objectives.pairs import ScoredPair, preference_pairs, reward_augmented  # noqa: E402
from bylaw.runtime.objectives.policy_gradient import advantages  # noqa: E402
from bylaw.runtime.objectives.process_rewards import partial_rewards, process_rewards  # noqa: E402
from bylaw.runtime.objectives.raft import best, best_of_k_law, most_kl  # noqa: E402
from bylaw.runtime.objectives.reward_model import bradley_terry  # noqa: E402
from tinymodels import TabularModel  # noqa: E402

Tensor = torch.Tensor


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=REAL)


def one_token(logits: Tensor, **given: object) -> Batch:
    """Rows of one token each, under a softmax of `logits` [Y], with a uniform reference unless one is given."""
    size = logits.shape[0]
    reference = given.pop("reference", torch.full((size,), -math.log(size), dtype=REAL))
    mask = torch.ones(size, 1, dtype=torch.bool)
    return Batch(logits.log_softmax(0)[:, None], mask, reference=reference[:, None], **given)  # type: ignore[index,arg-type]


def kl(left: Tensor, right: Tensor) -> float:
    return float((left.exp() * (left - right)).sum())


# ---------------------------------------------------------------------------------------------------------- basics
def test_preferences_on_all_pairs_reach_the_tilted_reference() -> None:
    reward, reference = real(0.3, -1.2, 2.0, 0.0, 1.1, -0.4), real(0.1, 1.0, -0.5, 0.2, 0.0, 0.7).log_softmax(0)
    pairs, preference = preference_pairs(reward, torch.zeros(6, dtype=torch.long))
    objective = catalog.build("dpo", {"beta": 0.5})
    # labels of the law are σ(R_i − R_j): with β = 1/2 the optimum is p0·e^{R/β}
    ended = minimised(
        lambda at: objective.loss(one_token(at, reference=reference, pairs=pairs, preference=preference)).value(),
        torch.zeros(6, dtype=REAL),
        tolerance=1e-11,
    )
    assert total_variation(ended.log_softmax(0), (reference + 2 * reward).log_softmax(0)) < 1e-7


def test_group_relative_advantages() -> None:
    reward = real(1, 0, 0, 1, 1, 1, 0, 2)
    found = relative_advantages(reward[:, None], real(1), torch.zeros(8, dtype=torch.long), "sum_then_normalise")
    wanted = [0.3535, -1.0605, -1.0605, 0.3535, 0.3535, 0.3535, -1.0605, 1.7675]
    assert found.tolist() == pytest.approx(wanted, abs=1e-4)
    one_out = advantages(reward, torch.zeros(8, dtype=torch.long), "leave_one_out")
    assert one_out.tolist() == pytest.approx([r - (6 - r) / 7 for r in reward.tolist()])
    same = relative_advantages(torch.ones(4, 1, dtype=REAL), real(1), torch.tensor([0, 0, 1, 1]), "normalise_then_sum")
    assert same.tolist() == [0, 0, 0, 0]


def test_normalising_each_rule_keeps_the_weights_that_the_author_wrote() -> None:
    scores = torch.tensor([[1.0, 0], [0, 10], [0, 0], [1, 10]], dtype=REAL)
    group = torch.zeros(4, dtype=torch.long)
    summed = relative_advantages(scores, real(1, 2), group, "sum_then_normalise")
    each = relative_advantages(scores, real(1, 2), group, "normalise_then_sum")
    assert summed.tolist() == pytest.approx([-0.822, 0.822, -0.908, 0.908], abs=1e-3)
    assert each.tolist() == pytest.approx([-0.387, 0.387, -1.162, 1.162], abs=1e-3)
    # the unit of a rule's score changes only the first
    scaled = scores * real(100, 1)
    assert relative_advantages(scaled, real(1, 2), group, "normalise_then_sum") == pytest.approx(each, abs=1e-3)
    assert float((relative_advantages(scaled, real(1, 2), group, "sum_then_normalise") - summed).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("reduction", "wanted"),
    [("grpo", (2 + 3) / 2), ("dapo", (2 * 3 + 3) / 4), ("bnpo", (2 * 3 + 3) / 4), ("dr_grpo", (2 * 3 + 3) / (2 * 6))],
)
def test_lengths_count_as_the_reduction_says(reduction: str, wanted: float) -> None:
    """Two rows of three tokens and of one, whose losses are 2 and 3 a token; the cap is 6 tokens."""
    objective = catalog.build("grpo", {"reduction": reduction, "max_tokens": 6})
    zero, mask = torch.zeros(2, 3, dtype=REAL), torch.tensor([[True, True, True], [True, False, False]])
    found = objective.loss(Batch(zero, mask, behaviour=zero, advantage=real(-2, -3)))
    assert float(found.value()) == pytest.approx(wanted)


def test_a_rule_that_does_not_apply_says_nothing() -> None:
    nan = math.nan
    scores = torch.tensor([[1.0, nan], [0, nan], [nan, nan], [1, 3]], dtype=REAL)
    group = torch.zeros(4, dtype=torch.long)
    for aggregation in ("sum_then_normalise", "normalise_then_sum"):
        found = relative_advantages(scores, real(1, 1), group, aggregation)
        assert float(found[2]) == 0.0
        assert torch.isfinite(found).all()
    alone = relative_advantages(scores[:2, :1], real(1), group[:2], "normalise_then_sum")
    beside = relative_advantages(scores[:3, :1], real(1), group[:3], "normalise_then_sum")
    assert torch.equal(beside, torch.cat([alone, real(0)]))


# -------------------------------------------------------------------------------------------- preferences with SFT
@pytest.mark.parametrize(
    ("sft_weight", "wanted"), [(0.0, (0.0, 0.0, 1.0)), (0.2, (0.9206, 0.0232, 0.0562))], ids=["without", "with"]
)
def test_the_sft_term_keeps_mass_from_what_nobody_preferred(sft_weight: float, wanted: tuple[float, ...]) -> None:
    features = torch.tensor([[1, 0], [2, 0.5], [-3, 0.2]], dtype=REAL)  # chosen, rejected, and one that no pair holds
    objective = catalog.build("dpo", {"beta": 0.1, "sft_weight": sft_weight})
    theta = torch.zeros(2, dtype=REAL)
    for _ in range(400):
        theta = theta.detach().requires_grad_()
        loss = objective.loss(one_token(features @ theta, pairs=torch.tensor([[0, 1]]))).value()
        theta = theta - 0.5 * gradient_of(loss, theta)
    assert (features @ theta).softmax(0).tolist() == pytest.approx(wanted, abs=1e-4)


def test_the_sft_term_is_a_mean_of_tokens_or_of_responses() -> None:
    log_probs = torch.tensor([[-1.0, -2, -3], [-4, 0, 0], [-0.5, -0.5, 0]], dtype=REAL)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
    batch = Batch(log_probs, mask, reference=log_probs, pairs=torch.tensor([[0, 1], [1, 2]]))
    for reduction, wanted in (("token", 10 / 4), ("sequence", 10 / 2)):
        objective = catalog.build("dpo", {"sft_weight": 0.2, "sft_reduction": reduction})
        assert float(objective.loss(batch).value()) == pytest.approx(math.log(2) + 0.2 * wanted)


# ------------------------------------------------------------------------------------------------- negatives alone
def rest_moved(alpha: float, beta: float, own: int) -> float:
    """How far the rest moves on average, in total variation, until the negative is down from .19 to .01: 64 runs at
    once, each a prompt of its own, with `own` samples of the base a step."""
    base = real(0.19, 0.33, 0.2, 0.15, 0.08, 0.05).log()
    runs, size = 64, 6
    # rows of a run: its six responses as own samples (weighted by how often they were drawn), then the negative
    rows = torch.cat([torch.arange(size), torch.tensor([0])])
    given = {
        "mask": torch.ones(runs * (size + 1), 1, dtype=torch.bool),
        "reference": base[rows].repeat(runs)[:, None],
        "prompt": torch.arange(runs).repeat_interleave(size + 1),
        "desirable": (torch.arange(size + 1) < size).repeat(runs),
    }
    objective = catalog.build("d2o", {"alpha": alpha, "beta": beta})
    draw = torch.Generator().manual_seed(own)
    logits = base.expand(runs, size)
    for step in range(150):
        drawn = torch.multinomial(base.exp(), own * runs, replacement=True, generator=draw).reshape(runs, own)
        counts = torch.zeros(runs, size, dtype=REAL).scatter_add(1, drawn, torch.ones(runs, own, dtype=REAL))
        logits = logits.detach().requires_grad_()
        weight = torch.cat([counts, torch.ones(runs, 1, dtype=REAL)], dim=1).ravel()
        batch = Batch(logits.log_softmax(1)[:, rows].reshape(-1, 1), weight=weight, **given)
        loss = objective.loss(objective.prepare(batch)).value()
        assert step or float(loss.detach()) == pytest.approx(math.log(2), abs=1e-12)
        logits = logits - 0.5 * runs * gradient_of(loss, logits)
        law = logits.detach().log_softmax(1)
        if float(law[:, 0].exp().mean()) < 0.01:
            return float((law[:, 1:].softmax(1) - base[1:].softmax(0)).abs().sum(dim=1).mean() / 2)
    return math.nan


def test_prohibitions_need_no_positives_and_own_samples_hold_the_rest() -> None:
    assert rest_moved(1, 0, 1) == pytest.approx(0.187, abs=2e-3)
    assert rest_moved(1, 1, 64) == pytest.approx(0.131, abs=5e-3)
    held = rest_moved(0.3, 1, 64)
    assert held == pytest.approx(0.042, abs=5e-3)
    assert held < rest_moved(0.3, 1, 8) < 0.06
    apart = {"prompt": torch.arange(2), "desirable": torch.tensor([True, False])}
    batch = Batch(**{**vars(one_token(torch.zeros(2, dtype=REAL))), **apart})
    with pytest.raises(ObjectiveError, match="own samples"):
        catalog.build("d2o").prepare(batch)


# ------------------------------------------------------------------------------------------------- process rewards
WORLD = World(TabularModel(b"abcd", max_tokens=3, seed=2), lambda text: -3.0 * (b"b" in text) + 0.5 * len(text))


def test_partial_rewards_are_soft_values() -> None:
    """q_t = β log E_p0[e^{r/β} | y_≤t] − β log Z, for π ∝ p0 e^{r/β}."""
    beta = 1.0
    tuned = tuned_log_probs(WORLD)
    found = partial_rewards(tuned, WORLD.reference, WORLD.mask, beta)
    for row, response in enumerate(WORLD.responses):
        for place in range(int(WORLD.mask[row].sum())):
            ended = place == len(response)
            value = float(WORLD.reward[row]) if ended else WORLD.soft_value(response[: place + 1])
            assert float(found[row, place]) == pytest.approx(value - WORLD.log_z, abs=1e-12)


def test_the_token_that_breaks_a_rule_is_where_the_reward_falls_most() -> None:
    each = process_rewards(tuned_log_probs(WORLD), WORLD.reference, WORLD.mask, 1.0)
    checked = 0
    for row, response in enumerate(WORLD.responses):
        if response.count(1) == 1:  # the token `b`, once
            assert int(each[row].argmin()) == response.index(1)
            checked += 1
    assert checked == 3 * 3 * 3 + 2 * 3 + 1


def tuned_log_probs(world: World) -> Tensor:
    """[Y, T] token log-probabilities of p*, by p0(w|h) V(hw)/V(h)."""
    values = world.rewards_to_come()
    ends = world.mask.sum(dim=1)
    following = torch.cat([values[:, 1:], torch.zeros(len(ends), 1, dtype=REAL)], dim=1)
    following[torch.arange(len(ends)), ends - 1] = world.reward
    return torch.where(world.mask, world.reference + following - values, 0.0)


def test_logits_hold_a_reward_that_telescopes() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=REAL)
    tokens = torch.tensor([[1, 2, 0, 4], [3, 3, 1, 0], [0, 0, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    scale = 0.7
    found = endogenous_rewards(logits, tokens, mask, scale)
    log_probs = (logits / scale).log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    whole = scale * torch.where(mask, log_probs, 0.0).sum(dim=1) + soft_values(logits, scale)[:, 0]
    assert torch.allclose(found.sum(dim=1), whole, atol=1e-12)
    short = endogenous_rewards(logits, tokens, mask, scale, 0.5)
    values = soft_values(logits, scale)
    assert float(short[0, 1]) == pytest.approx(float(logits[0, 1, 2] - 0.5 * values[0, 2]), abs=1e-12)
    assert float(short[1, 1]) == pytest.approx(float(logits[1, 1, 3]), abs=1e-12)
    # discounted, it says something else than the likelihood
    less = discounted_sums(endogenous_rewards(logits, tokens, mask, scale, 0.5), 0.5)
    assert not torch.allclose(less, whole, atol=0.1)


# ---------------------------------------------------------------------------------------------------------- best of K
def test_the_law_of_the_best_of_k() -> None:
    base = real(0.5, 0.3, 0.2)
    found = best_of_k_law(base, real(0, 1, 2), 4)
    assert found.tolist() == pytest.approx([0.0625, 0.3471, 0.5904], abs=1e-12)
    assert kl(found.log(), base.log()) == pytest.approx(0.560, abs=5e-4)
    assert most_kl(4) == pytest.approx(0.636, abs=5e-4)
    # ties share in proportion; one sample changes nothing; many leave the best class alone
    tied = best_of_k_law(base, real(0, 1, 1), 3)
    assert tied.tolist() == pytest.approx([0.125, 0.875 * 0.6, 0.875 * 0.4])
    assert torch.allclose(best_of_k_law(base, real(0, 1, 2), 1), base)
    assert float(best_of_k_law(base, real(0, 1, 2), 200)[2]) > 1 - 1e-9


def test_what_is_kept_of_samples_follows_the_law_of_the_best() -> None:
    """12,000 prompts with 4 samples each: a χ² test of what is kept; false alarms once in 10,000 runs (seed fixed)."""
    base, reward = real(0.5, 0.3, 0.2), real(0, 1, 2)
    rows = torch.multinomial(base, 48_000, replacement=True, generator=torch.Generator().manual_seed(7))
    whole = one_token(base.log()).take(rows)
    batch = Batch(**{**vars(whole), "reward": reward[rows], "prompt": torch.arange(12_000).repeat_interleave(4)})
    objective = catalog.build("raft")
    kept = objective.prepare(batch)
    assert kept.rows == 12_000
    counts = torch.bincount(kept.reward.long(), minlength=3).to(REAL)
    wanted = best_of_k_law(base, reward, 4) * 12_000
    assert float(((counts - wanted) ** 2 / wanted).sum()) < 18.42  # χ² with 2 degrees of freedom at 1e-4
    # one round of maximum likelihood is the empirical law of what was kept
    symbols = {float(r): n for n, r in enumerate(reward)}
    drawn = torch.tensor([symbols[float(r)] for r in kept.reward])

    def loss(logits: Tensor) -> Tensor:
        made = Batch(**{**vars(kept), "log_probs": logits.log_softmax(0)[drawn][:, None]})
        return objective.loss(made).value()

    ended = minimised(loss, torch.zeros(3, dtype=REAL))
    assert torch.allclose(ended.softmax(0), counts / counts.sum(), atol=1e-6)


def test_only_rows_that_keep_hard_rules_are_learnt_from() -> None:
    reward = real(-math.inf, 1, 3, 2, -math.inf, -math.inf)
    group = torch.tensor([0, 0, 0, 0, 1, 1])
    assert best(reward, group, keep=2).tolist() == [False, False, True, True, False, False]
    whole = one_token(torch.zeros(6, dtype=REAL))
    objective = catalog.build("raft")
    left = objective.prepare(Batch(**{**vars(whole), "reward": reward, "prompt": group, "place": torch.arange(6) * 10}))
    assert left.place.tolist() == [20]
    with pytest.raises(NoAllowedSample, match="breaks a hard rule"):
        objective.prepare(Batch(**{**vars(whole), "reward": torch.full_like(reward, -math.inf), "prompt": group}))


# ------------------------------------------------------------------------------------------- one response at a time
def test_desirable_responses_are_held_against_the_reference_point() -> None:
    """Eq. 8 of Ethayarajh et al. 2024 on two rows, by hand; the point is a mean of log ratios, not below 0."""
    objective = catalog.build("kto", {"beta": 0.5, "desirable_weight": 1.0, "undesirable_weight": 1.5})
    log_probs, mask = torch.tensor([[-1.0], [-2.0]], dtype=REAL), torch.ones(2, 1, dtype=torch.bool)
    point = reference_point(real(0.5, 0.7))
    assert float(point) == pytest.approx(0.6)
    assert float(reference_point(real(-3, 1))) == 0.0
    given = {"desirable": torch.tensor([True, False]), "reference_point": point}
    batch = objective.prepare(Batch(log_probs, mask, reference=torch.full((2, 1), -1.3, dtype=REAL), **given))
    good = 1 - 1 / (1 + math.exp(-0.5 * (0.3 - 0.6)))
    bad = 1 - 1 / (1 + math.exp(-0.5 * (0.6 + 0.7)))
    assert float(objective.loss(batch).value()) == pytest.approx((good + 1.5 * bad) / 2, abs=1e-12)
    with pytest.raises(ObjectiveError, match="0 or more"):
        objective.prepare(Batch(**{**vars(batch), "reference_point": real(-1)}))
    with pytest.raises(ObjectiveError, match="at least two prompts"):
        reference_point(real())


# ------------------------------------------------------------------------------------------------------------ votes
def test_the_weakest_pairs_are_the_flipped_ones() -> None:
    """Ten voters, 2,000 pairs, of which a fifth is labelled the wrong way round."""
    draw = torch.Generator().manual_seed(3)
    size = 2_000
    truth = 0.5 + torch.rand(size, generator=draw, dtype=REAL) * 2
    planted = torch.rand(size, generator=draw, dtype=REAL) < 0.2
    signed = torch.where(planted, -truth, truth)
    mean, spread = votes.strength(signed + torch.randn(10, size, generator=draw, dtype=REAL))
    assert float(spread.mean()) == pytest.approx(1, abs=0.05)
    treated = votes.treat(mean)
    lowest = torch.argsort(mean)[: size // 5]
    rest = torch.argsort(mean)[size // 5 :]
    assert float(planted[lowest].double().mean()) > 0.95
    assert float(planted[rest].double().mean()) < 0.03
    # after the treatment nearly all pairs point the right way
    right = treated.flipped == planted
    assert float(right.double().mean()) > 0.96
    pairs = torch.stack([torch.arange(size), torch.arange(size) + size], dim=1)
    assert torch.equal(treated.pairs(pairs)[treated.flipped], pairs[treated.flipped].flip(1))
    assert int((treated.margin > 0).sum()) == size // 5
    assert torch.equal(treated.preference[treated.margin > 0], torch.ones(size // 5, dtype=REAL))


def test_only_the_given_shares_are_flipped_or_held_apart() -> None:
    treated = votes.treat(real(-1, 4, -3, 0.5, -0.2), flip_share=0.2, margin_share=0.4)
    assert treated.flipped.tolist() == [False, False, True, False, False]
    assert treated.margin.tolist() == [0, 4, 0, 0.5, 0]
    soft = [1 / (1 + math.exp(1)), 1, 1, 1, 1 / (1 + math.exp(0.2))]
    assert treated.preference.tolist() == pytest.approx(soft)
    # what leads is never flipped, and what trails gets no margin
    assert not votes.treat(real(1, 2, 3)).flipped.any()
    assert not votes.treat(real(-1, -2, -3), margin_share=0.5).margin.any()


def test_soft_labels_and_margins() -> None:
    gap, chance, margin = real(0.7, -1.3), real(0.8, 0.25), real(0.2, 1.0)
    sigmoid = [1 / (1 + math.exp(-x)) for x in gap.tolist()]
    soft = [-p * math.log(s) - (1 - p) * math.log(1 - s) for p, s in zip(chance.tolist(), sigmoid, strict=True)]
    assert bradley_terry(gap, chance, None).tolist() == pytest.approx(soft, abs=1e-12)
    held = [math.log1p(math.exp(-(d - m))) for d, m in zip(gap.tolist(), margin.tolist(), strict=True)]
    assert bradley_terry(gap, None, margin).tolist() == pytest.approx(held, abs=1e-12)
    # with both, either side has to lead by the margin
    other = [math.log1p(math.exp(d + m)) for d, m in zip(gap.tolist(), margin.tolist(), strict=True)]
    mixed = [p * a + (1 - p) * b for p, a, b in zip(chance.tolist(), held, other, strict=True)]
    assert bradley_terry(gap, chance, margin).tolist() == pytest.approx(mixed, abs=1e-12)


def test_a_pair_without_a_vote_is_an_error_and_abstentions_are_not() -> None:
    mean, spread = votes.strength(torch.tensor([[1.0, math.nan], [3.0, 2.0]], dtype=REAL))
    assert mean.tolist() == [2, 2]
    assert spread.tolist() == pytest.approx([math.sqrt(2), 0])
    with pytest.raises(ObjectiveError, match="pair 1"):
        votes.strength(torch.tensor([[1.0, math.nan]], dtype=REAL))


# ------------------------------------------------------------------------------------------------ pairs with goals
def scored(first: float, second: float) -> ScoredPair:
    return ScoredPair(
        "How far is it?", "A mile.", "No idea.", {"help": first, "brevity": 2}, {"help": second, "brevity": 2}
    )


def test_goals_double_the_pairs_and_turn_every_second_one_round() -> None:
    made = reward_augmented([scored(5, 1), scored(3, 3)])
    assert [(each.goal, each.chosen) for each in made] == [
        ("Wanted scores: brevity 2, help 5.", "A mile."),
        ("Wanted scores: brevity 2, help 1.", "No idea."),
        ("", "A mile."),
    ]
    with pytest.raises(ObjectiveError, match="`brevity`"):
        reward_augmented([ScoredPair("x", "a", "b", {"help": 1, "brevity": 1}, {"help": 2})])


def test_a_model_that_is_told_the_goal_prefers_either_answer() -> None:
    """Conditional preferences turn with the goal; plain pairs of the same data know one direction only."""
    objective = catalog.build("dpo", {"beta": 1.0})
    # two goals (rows of logits), two answers: the policy that reads the goal
    augmented = torch.tensor([[0, 1], [3, 2]])  # goal high: A over B; goal low: B over A

    def loss(logits: Tensor) -> Tensor:
        log_probs = logits.log_softmax(1).reshape(4, 1)
        mask = torch.ones(4, 1, dtype=torch.bool)
        reference = torch.full((4, 1), -math.log(2), dtype=REAL)
        chance = real(0.9, 0.9)
        return objective.loss(Batch(log_probs, mask, reference=reference, pairs=augmented, preference=chance)).value()

    ended = minimised(loss, torch.zeros(2, 2, dtype=REAL)).softmax(1)
    assert ended[0].tolist() == pytest.approx([0.9, 0.1], abs=1e-5)
    assert ended[1].tolist() == pytest.approx([0.1, 0.9], abs=1e-5)


# -------------------------------------------------------------------------------------------------------- the bridge
def test_the_bridge_keeps_to_the_reference_the_more_the_smaller_c() -> None:
    reference = real(0.1, 1.0, -0.5, 0.2, 0.0, 0.7).log_softmax(0)
    data = real(2.0, -0.5, 0.9, -1.0, 0.3, -1.5).log_softmax(0)
    away = [kl(data, reference)]
    for options in ({"divergence": "tv"}, {"c": 1.0}, {"c": 0.1}):
        objective = catalog.build("sft_bridge", options)
        likelihood = catalog.build("sft", {"reduction": "sequence"})

        def made(logits: Tensor) -> Batch:
            return one_token(logits, reference=reference, weight=data.exp())

        ended = minimised(lambda at, o=objective: o.loss(made(at)).value(), reference, tolerance=1e-10).log_softmax(0)  # type: ignore[misc]
        if options.get("divergence") == "tv":
            at = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=REAL)
            assert torch.equal(objective.loss(made(at)).value(), likelihood.loss(made(at)).value())
            assert total_variation(ended, data) < 1e-6
        else:
            away.append(kl(ended, reference))
    assert away[0] > 1.3 * away[1] > 1.3 * 5 * away[2] > 0


# ------------------------------------------------------------------------------------------------------------- spans
def test_only_the_tokens_that_carry_the_preference_move() -> None:
    draw = torch.Generator().manual_seed(2)
    log_probs = -torch.rand(2, 3, generator=draw, dtype=REAL)
    mask = torch.ones(2, 3, dtype=torch.bool)
    given = {"reference": -torch.rand(2, 3, generator=draw, dtype=REAL), "pairs": torch.tensor([[0, 1]])}

    def gradient(options: dict[str, object], span: Tensor | None) -> Tensor:
        objective = catalog.build("dpo", options)
        at = log_probs.clone().requires_grad_()
        batch = objective.prepare(Batch(at, mask, span=span, **given))
        return gradient_of(objective.loss(batch).value(), at)

    middle = torch.tensor([[0, 1, 0], [0, 1, 0]], dtype=torch.bool)
    found = gradient({"span": True}, middle)
    assert torch.equal(found != 0, middle)
    assert torch.equal(gradient({"span": True}, mask), gradient({}, None))
    with pytest.raises(ObjectiveError, match="no `span`"):
        gradient({"span": True}, None)


def test_smoothed_labels() -> None:
    """Conservative smoothing is the mean loss over flips; the robust one is unbiased for labels so flipped."""
    gap, noise = real(0.9), 0.2
    from bylaw.runtime.objectives.dpo import preference_loss

    plain, flipped = preference_loss(gap, None), preference_loss(-gap, None)
    assert torch.allclose(preference_loss(gap, None, noise), (1 - noise) * plain + noise * flipped)
    robust = [preference_loss(each, None, noise, robust=True) for each in (gap, -gap)]
    assert torch.allclose((1 - noise) * robust[0] + noise * robust[1], plain)
    half = preference_loss(gap, real(0.5), noise)
    assert torch.allclose(half, (plain + flipped) / 2)
