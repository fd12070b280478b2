"""Where the training objectives lead, on policies that are enumerated: to p* where they say so, else to their own."""

import math
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="objectives need the extra `models`")

from enumerated import REAL, World, divergence, followed, minimised, total_variation  # noqa: E402

from bylaw.runtime.objectives import catalog  # noqa: E402
from bylaw.runtime.objectives.errors import ObjectiveError  # noqa: E402
from bylaw.runtime.objectives.interface import Batch  # noqa: E402
from bylaw.runtime.objectives.pairs import preference_pairs  # noqa: E402
from bylaw.runtime.objectives.raft import best_of_k_law  # noqa: E402
from tinymodels import TabularModel  # noqa: E402

CLOSE = 1e-3
Tensor = torch.Tensor


def soft(text: bytes) -> float:
    return 1.1 * (b"a" in text) - 0.7 * text.count(b"b") + 0.4 * (len(text) > 1)


def hard(text: bytes) -> float:
    return -math.inf if b"c" in text else soft(text)


SOFT = World(TabularModel(b"abcd", max_tokens=3, seed=1), soft)
HARD = World(TabularModel(b"abcd", max_tokens=3, seed=1), hard)
WORLDS = pytest.mark.parametrize("world", [SOFT, HARD], ids=["soft", "hard"])


def exact(
    name: str, world: World, given: Callable[[Tensor], dict[str, Tensor]], **options: object
) -> Callable[[Tensor], Tensor]:
    """The loss of an objective as a function of logits; `given` makes the rest of the batch from the law [Y]."""
    objective = catalog.build(name, options)

    def loss(logits: Tensor) -> Tensor:
        batch = objective.prepare(world.batch(logits, **given(world.log_law(logits).detach())))
        return objective.loss(batch).value()

    return loss


def on_policy(name: str, world: World, **options: object) -> Callable[[Tensor], Tensor]:
    objective = catalog.build(name, options)

    def loss(logits: Tensor) -> Tensor:
        log_probs = world.token_log_probs(logits).detach()
        law = world.log_law(logits).detach().exp()
        batch = world.batch(logits, weight=law, reward=world.reward, behaviour=log_probs)
        return objective.loss(objective.prepare(batch)).value()

    return loss


def off_policy(world: World, **options: object) -> Callable[[Tensor], Tensor]:
    """f-DPG on rows of a decoder: half the law, half uniform over what the law allows."""
    there = torch.isfinite(world.target())
    proposal = torch.where(there, world.target().exp() / 2 + 0.5 / there.sum(), 0.0)
    kept = torch.nonzero(there)[:, 0]
    objective = catalog.build("fdpg", options)
    weight = (world.log_base + world.reward - proposal.log())[kept]

    def loss(logits: Tensor) -> Tensor:
        batch = world.batch(logits, weight=proposal, reward=world.reward).take(kept)
        batch = Batch(**{**vars(batch), "log_weight": weight})
        return objective.loss(objective.prepare(batch)).value()

    return loss


# ------------------------------------------------------------------------------------------------------ towards p*
@WORLDS
@pytest.mark.parametrize("reduction", ["token", "sequence"])
def test_likelihood_of_the_law_leads_to_it(world: World, reduction: str) -> None:
    loss = exact("sft", world, lambda law: {"weight": world.target().exp()}, reduction=reduction)
    assert total_variation(world.log_law(minimised(loss, world.start())), world.target()) < CLOSE


@WORLDS
def test_distilling_weighted_samples_leads_to_the_law(world: World) -> None:
    # the proposal is uniform over responses, so that weights differ by many nats
    weight = world.log_base + world.reward + math.log(len(world.responses))
    loss = exact("distill", world, lambda law: {"log_weight": weight})
    assert total_variation(world.log_law(minimised(loss, world.start())), world.target()) < CLOSE


@WORLDS
def test_direct_preference_optimisation_of_the_law_s_labels_leads_to_it(world: World) -> None:
    pairs, preference = preference_pairs(world.reward, torch.zeros(len(world.responses), dtype=torch.long))
    loss = exact("dpo", world, lambda law: {"pairs": pairs, "preference": preference})
    assert total_variation(world.log_law(minimised(loss, world.start(), steps=200)), world.target()) < CLOSE


@pytest.mark.parametrize("beta", [1.0, 0.5, 2.0])
def test_the_population_loss_of_preferences_is_least_at_the_tilted_law(beta: float) -> None:
    pairs, preference = preference_pairs(SOFT.reward, torch.zeros(len(SOFT.responses), dtype=torch.long))
    # a policy whose logits make it the law: each prefix's next token by p0 · V(next)
    at = logits_of(SOFT, SOFT.target(1 / beta)).requires_grad_()
    loss = exact("dpo", SOFT, lambda law: {"pairs": pairs, "preference": preference}, beta=beta)
    value = loss(at)
    (slope,) = torch.autograd.grad(value, at)
    assert slope.abs().max() < 1e-9
    assert all(loss(at.detach() + 0.3 * SOFT.start(seed)) > value for seed in range(5))


@pytest.mark.parametrize("name", ["reinforce", "rloo", "ppo"])
def test_policy_gradients_with_the_divergence_inside_lead_to_the_law(name: str) -> None:
    options = {"baseline": "none"} if name == "reinforce" else {"baseline": "group_mean"}
    if name == "ppo":
        critic = SOFT.rewards_to_come()
        objective = catalog.build("ppo", {"trace": 0.9, "value_weight": 0.0})

        def loss(logits: Tensor) -> Tensor:
            old = SOFT.token_log_probs(logits).detach()
            given = {"reward": SOFT.reward, "behaviour": old, "old_values": critic, "values": critic}
            batch = objective.prepare(SOFT.batch(logits, weight=SOFT.log_law(logits).detach().exp(), **given))
            return objective.loss(batch).value()

    else:
        loss = on_policy(name, SOFT, **options)
    aim = SOFT.target()
    ended = minimised(loss, SOFT.start(), value=lambda at: divergence("reverse_kl", SOFT.log_law(at), aim))
    assert total_variation(SOFT.log_law(ended), SOFT.target()) < CLOSE


def test_a_hard_rule_as_a_penalty_leads_to_the_law_with_that_penalty() -> None:
    with pytest.raises(ObjectiveError, match="hard_penalty"):
        on_policy("reinforce", HARD)(HARD.start())
    loss = on_policy("reinforce", HARD, baseline="none", hard_penalty=6.0)
    tilted = HARD.log_base + torch.where(torch.isfinite(HARD.reward), HARD.reward, -6.0)
    aim = tilted - tilted.logsumexp(0)
    ended = minimised(loss, HARD.start(), value=lambda at: divergence("reverse_kl", HARD.log_law(at), aim))
    ended = HARD.log_law(ended)
    assert total_variation(ended, aim) < CLOSE
    # what the penalty leaves open is small, and none of it is hidden
    assert 1e-4 < float(ended.exp()[~torch.isfinite(HARD.reward)].sum()) < 1e-2


FINITE = ("forward_kl", "js", "tv", "chi2")
TOWARDS = [(SOFT, "policy", name) for name in (*FINITE, "reverse_kl", "reverse_chi2")]
TOWARDS += [(HARD, "law", name) for name in FINITE] + [(SOFT, "law", "reverse_kl"), (HARD, "policy", "js")]


@pytest.mark.parametrize(("world", "rows", "name"), TOWARDS, ids=lambda value: value if isinstance(value, str) else "")
def test_divergences_to_the_law_lead_to_it(world: World, rows: str, name: str) -> None:
    if rows == "policy":
        loss = on_policy("fdpg", world, divergence=name, baseline="none")
    else:
        loss = off_policy(world, divergence=name, baseline="none" if name == "reverse_kl" else "auto")
    if name == "tv":  # it has a corner at the law, where no line search ends
        ended = followed(loss, world.start(), steps=250, rate=0.3)
    else:
        value = lambda at: divergence(name, world.log_law(at), world.target())  # noqa: E731
        ended = minimised(loss, world.start(), steps=200, value=value)
    reached = total_variation(world.log_law(ended), world.target())
    assert reached < (3e-3 if name == "tv" else CLOSE), reached


@pytest.mark.parametrize("name", ["reverse_kl", "reverse_chi2"])
def test_reverse_divergences_say_that_hard_rules_make_them_infinite(name: str) -> None:
    with pytest.raises(ObjectiveError, match="hard rule"):
        on_policy("fdpg", HARD, divergence=name)(HARD.start())
    with pytest.raises(ObjectiveError, match="hard rules"):
        off_policy(HARD, divergence=name)(HARD.start())


# -------------------------------------------------------------------------------------------------- to their own
@pytest.mark.parametrize("k", [2, 8])
def test_the_best_of_k_is_learnt_as_its_law(k: int) -> None:
    aim = best_of_k_law(SOFT.log_base.exp(), SOFT.reward, k)
    loss = exact("sft", SOFT, lambda law: {"weight": aim}, reduction="sequence")
    assert total_variation(SOFT.log_law(minimised(loss, SOFT.start(), steps=300)), aim.log()) < CLOSE
    assert total_variation(aim.log(), SOFT.target()) > 0.05


@pytest.mark.parametrize(
    ("divergence", "inverse"),
    [
        ("forward_kl", lambda s: -(1 - s).clamp(min=1e-12).log()),
        ("js", lambda s: -torch.expm1(math.log(2) - s).clamp(min=1e-12).log()),
        ("alpha", lambda s: (1 - s / 2).clamp(min=1e-12).log() * -2),
    ],
)
def test_preferences_under_other_divergences_lead_where_these_say(
    divergence: str, inverse: Callable[[Tensor], Tensor]
) -> None:
    pairs, preference = preference_pairs(SOFT.reward, torch.zeros(len(SOFT.responses), dtype=torch.long))
    loss = exact(
        "dpo", SOFT, lambda law: {"pairs": pairs, "preference": preference}, divergence=divergence, alpha=0.5, beta=4.0
    )
    # β s(log π/p0) = R + c, with c such that π sums to one: s is increasing, so c is found by bisection
    low, high = -20.0, 0.5
    for _ in range(200):
        middle = (low + high) / 2
        total = float((SOFT.log_base + inverse(SOFT.reward / 4.0 + middle)).logsumexp(0))
        low, high = (middle, high) if total < 0 else (low, middle)
    aim = SOFT.log_base + inverse(SOFT.reward / 4.0 + low)
    assert abs(float(aim.logsumexp(0))) < 1e-9
    ended = SOFT.log_law(minimised(loss, SOFT.start(spread=0.1), steps=150))
    assert total_variation(ended, aim) < CLOSE
    assert total_variation(aim, SOFT.target(0.25)) > CLOSE


def test_kto_fills_up_to_its_own_level() -> None:
    world = World(TabularModel(b"abcd", max_tokens=1, seed=3, spread=0.3), soft)
    share = torch.tensor([0.9, 0.8, 0.75, 0.2, 0.85], dtype=REAL)  # how often each response is called desirable
    weight = world.log_base.exp()
    rows = torch.arange(5).repeat(2)
    desirable = torch.arange(10) < 5
    objective = catalog.build("kto", {"beta": 1.0})

    def loss(logits: Tensor) -> Tensor:
        batch = world.batch(logits).take(rows)
        given = {"weight": torch.cat([weight * share, weight * (1 - share)]), "desirable": desirable}
        batch = Batch(**{**vars(batch), **given, "reference_point": torch.zeros((), dtype=REAL)})
        return objective.loss(objective.prepare(batch)).value()

    worth, base = weight * (2 * share - 1), world.log_base.exp()

    def filled(level: float) -> Tensor:
        return torch.where(worth > 0, (worth.clamp(min=0) * base / level).sqrt() - base, 0.0).clamp(min=0)

    low, high = 1e-9, 1.0
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if float(filled(middle).sum()) > 1 else (low, middle)
    ended = world.log_law(minimised(loss, world.start(), steps=3000))
    assert total_variation(ended, filled(low).log()) < CLOSE
    assert float(ended[3]) < math.log(CLOSE)


def prohibition(world: World, negative: Tensor, **options: object) -> Callable[[Tensor], Tensor]:
    """D2O with every response as an own sample of the base, and the negatives once more as negatives."""
    base = world.log_base.exp()
    rows = torch.cat([torch.arange(len(base)), torch.nonzero(negative)[:, 0]])
    desirable = torch.arange(len(rows)) < len(base)
    objective = catalog.build("d2o", options)

    def loss(logits: Tensor) -> Tensor:
        batch = world.batch(logits, weight=base).take(rows)
        return objective.loss(objective.prepare(Batch(**{**vars(batch), "desirable": desirable}))).value()

    return loss


def test_prohibitions_from_negatives_alone_take_their_mass_and_keep_the_rest_best_as_it_was() -> None:
    world = World(TabularModel(b"abcd", max_tokens=1, seed=4), soft)
    negative = torch.tensor([False, False, True, True, False])
    base, left = world.log_base, 1e-3
    loss = prohibition(world, negative, alpha=1.0, beta=2.0)
    assert float(loss(world.base_logits)) == pytest.approx(math.log(2), abs=1e-12)

    def logits(free: Tensor) -> Tensor:
        """[1, V] a policy with the mass `left` on the negatives, the rest shared freely."""
        found = torch.full_like(base, -torch.inf)
        found = torch.where(negative, base - base[negative].logsumexp(0) + math.log(left), found)
        kept = torch.zeros_like(base).masked_scatter(~negative, free.log_softmax(0) + math.log1p(-left))
        by_response = torch.where(negative, found, kept)
        return torch.cat([by_response[1:], by_response[:1]])[None]  # the empty response is the end token, the last id

    ended = minimised(lambda free: loss(logits(free)), torch.zeros(3, dtype=REAL))
    aim = base[~negative] - base[~negative].logsumexp(0)
    assert total_variation(ended.log_softmax(0), aim) < 1e-6
    # left to itself, the negatives go, at a price that beta lowers: the rest moves
    moved = {}
    for beta in (0.0, 2.0):
        free = prohibition(world, negative, alpha=1.0, beta=beta)
        last = world.base_logits.clone().requires_grad_()
        for _ in range(300):
            (slope,) = torch.autograd.grad(free(last), last)
            last = (last - slope).detach().requires_grad_()
        law = world.log_law(last).detach()
        assert float(law.exp()[negative].sum()) < 0.05 * float(base.exp()[negative].sum())
        moved[beta] = total_variation(law[~negative] - law[~negative].logsumexp(0), aim)
    assert moved[2.0] < moved[0.0]


@pytest.mark.parametrize("centring", [0.0, 0.01])
def test_a_reward_model_of_the_law_s_labels_is_the_reward(centring: float) -> None:
    pairs, preference = preference_pairs(SOFT.reward, torch.zeros(len(SOFT.responses), dtype=torch.long))
    objective = catalog.build("reward_model", {"centring": centring})

    def loss(score: Tensor) -> Tensor:
        batch = SOFT.batch(SOFT.base_logits, score=score, pairs=pairs, preference=preference)
        return objective.loss(objective.prepare(batch)).value()

    found = minimised(loss, torch.zeros_like(SOFT.reward), tolerance=1e-10)
    gap = found - SOFT.reward
    if centring:
        # shifting all scores changes nothing but the centring, which is least where the pairs' sums are 0 on average
        assert abs(float(found[pairs].sum(dim=1).mean())) < 1e-6
        assert float(torch.corrcoef(torch.stack([found, SOFT.reward]))[0, 1]) > 0.999
    else:
        assert float((gap - gap.mean()).abs().max()) < 1e-5


def test_labels_of_whole_responses_are_learnt_as_log_odds() -> None:
    # labels whose odds are those of some law: (π°/p0)^β
    aim = SOFT.log_law(SOFT.start(seed=5))
    chance = torch.sigmoid(0.5 * (aim - SOFT.log_base))
    loss = exact("process_rewards", SOFT, lambda law: {"desirable": chance}, beta=0.5)
    assert total_variation(SOFT.log_law(minimised(loss, SOFT.start(), steps=150)), aim) < CLOSE


@pytest.mark.parametrize("c", [1.0, 0.1])
def test_the_bridge_between_data_and_reference_ends_where_it_says(c: float) -> None:
    data = SOFT.log_law(SOFT.start(seed=8, spread=1.2))
    loss = exact("sft_bridge", SOFT, lambda law: {"weight": data.exp()}, divergence="chi2", c=c)
    ended = SOFT.log_law(minimised(loss, SOFT.start(), steps=150))
    pull = data.exp() * (1 - (ended - SOFT.log_base) / (2 * c))
    assert total_variation(ended, (pull / pull.sum()).log()) < CLOSE
    assert 0 < kl(ended, SOFT.log_base) < kl(data, SOFT.log_base)


@pytest.mark.parametrize("form", ["k3", "k3_weighted"])
def test_group_relative_policies_end_at_their_own_point(form: str) -> None:
    world = World(TabularModel(b"abcd", max_tokens=1, seed=3), soft)
    beta = 0.7
    objective = catalog.build("grpo", {"beta": beta, "kl": form, "clip_low": None, "clip_high": None})

    def loss(logits: Tensor) -> Tensor:
        old = world.token_log_probs(logits).detach()
        law = world.log_law(logits).detach().exp()
        advantage = world.reward - (law * world.reward).sum()
        batch = world.batch(logits, weight=law, behaviour=old, advantage=advantage)
        return objective.loss(batch).value()

    def value(logits: Tensor) -> Tensor:
        log_law = world.log_law(logits)
        left, right = (log_law, world.log_base) if form == "k3_weighted" else (world.log_base, log_law)
        return beta * divergence("reverse_kl", left, right) - (log_law.exp() * world.reward).sum()

    ended = world.log_law(minimised(loss, world.start(), value=value))
    if form == "k3_weighted":
        assert total_variation(ended, world.target(1 / beta)) < CLOSE
        return
    low, high = float(world.reward.max()) + 1e-9, float(world.reward.max()) + 10
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if float((beta * world.log_base.exp() / (middle - world.reward)).sum()) > 1
            else (low, middle)
        )
    aim = (beta * world.log_base.exp() / (low - world.reward)).log()
    assert total_variation(ended, aim) < CLOSE
    assert total_variation(ended, world.target(1 / beta)) > 0.02


# --------------------------------------------------------------------------------------------------------- helpers
def kl(left: Tensor, right: Tensor) -> float:
    return float((left.exp() * (left - right)).sum())


def logits_of(world: World, log_law: Tensor) -> Tensor:
    """[prefixes, V] next-token log-probabilities of a law over the responses."""
    found = torch.full_like(world.base_logits, -torch.inf)
    for prefix, number in world.prefixes.items():
        for token in range(len(world.model.vocabulary)):
            following = (*prefix, token)
            if token == world.model.eos_id:
                inside = [each == prefix for each in world.responses]
            else:
                inside = [each[: len(following)] == following for each in world.responses]
            found[number, token] = log_law[torch.tensor(inside)].logsumexp(0)
    return found.log_softmax(dim=1)
