"""What every objective of the catalogue must do, run on all of them, and the shape of batches, losses and options."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="objectives need the extra `models`")

import bylaw.runtime.objectives as package  # noqa: E402
from bylaw.runtime.objectives import catalog  # noqa: E402
from bylaw.runtime.objectives.catalog import Objective  # noqa: E402
from bylaw.runtime.objectives.errors import NoAllowedSample, ObjectiveError  # noqa: E402
from bylaw.runtime.objectives.interface import Batch, Loss, Ratio, bounded, sums  # noqa: E402
from bylaw.runtime.objectives.pairs import preference_pairs  # noqa: E402

Tensor = torch.Tensor
ALL = pytest.mark.parametrize("name", catalog.names())
PROMPTS, SAMPLES, LONGEST, RULES = 3, 4, 5, 2
TRAINED = ("log_probs", "values", "score")


def made(objective: Objective, seed: int = 0, kind: torch.dtype = torch.float64) -> Batch:
    """A batch of three prompts with four rows each that has all that the objective needs; NaN off the mask."""
    draw = torch.Generator().manual_seed(seed)
    rows = PROMPTS * SAMPLES

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=kind)

    lengths = torch.randint(1, LONGEST + 1, (rows, 1), generator=draw)
    mask = torch.arange(LONGEST) < lengths
    start = torch.arange(PROMPTS)[:, None] * SAMPLES
    names = ("log_probs", "reference", "behaviour")
    tokens = {name: torch.where(mask, -noise(rows, LONGEST).abs(), torch.nan) for name in names}
    reward = noise(rows)
    known: dict[str, Tensor] = {
        **tokens,
        "log_weight": noise(rows),
        "reward": reward,
        "rule_rewards": torch.where(torch.rand(rows, RULES, generator=draw) < 0.2, torch.nan, noise(rows, RULES)),
        "rule_weights": torch.tensor([1.0, 0.5], dtype=kind),
        "pairs": (start + torch.tensor([[0, 1], [3, 2]]).reshape(1, 4)).reshape(-1, 2),
        "desirable": torch.arange(rows) % 2 == 0,
        "reference_point": torch.tensor(0.3, dtype=kind),
        "values": noise(rows, LONGEST),
        "old_values": noise(rows, LONGEST),
        "score": noise(rows),
    }
    wanted = sorted({each.split("|")[0] for each in objective.needs})
    given = {name: known[name] for name in ("log_probs", *wanted)}
    return Batch(mask=mask, prompt=torch.arange(PROMPTS).repeat_interleave(SAMPLES), **given)


def with_gradient(batch: Batch) -> tuple[Batch, list[Tensor]]:
    leaves = {name: getattr(batch, name) for name in TRAINED if getattr(batch, name) is not None}
    leaves = {name: value.clone().requires_grad_() for name, value in leaves.items()}
    return replace(batch, **leaves), list(leaves.values())


def slopes(value: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(value, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if each is None else each for leaf, each in zip(leaves, found, strict=True)]


# -------------------------------------------------------------------------------------------- laws of the catalogue
@ALL
def test_micro_batches_add_up_to_the_batch(name: str) -> None:
    objective = catalog.build(name)
    batch, leaves = with_gradient(objective.prepare(made(objective)))
    whole = objective.loss(batch)
    counts = objective.counts(batch)
    assert set(counts) == set(whole.parts)
    prompts = batch.prompts()
    pieces = [torch.nonzero(prompts == prompt)[:, 0] for prompt in range(PROMPTS)]
    parts = [objective.loss(batch.take(rows)).value(counts) for rows in pieces]
    assert float(sum(parts).detach()) == pytest.approx(float(whole.value().detach()), abs=1e-12)
    for once, added in zip(slopes(whole.value(), leaves), slopes(sum(parts), leaves), strict=True):
        assert torch.allclose(once, added, atol=1e-12)
        assert torch.isfinite(once).all()
    # what a micro-batch counts adds up as well, which is what processes have to exchange
    for part, count in counts.items():
        assert float(sum(objective.counts(batch.take(rows))[part] for rows in pieces)) == pytest.approx(float(count))


@ALL
def test_a_loss_is_finite_has_a_gradient_and_reports_without_one(name: str) -> None:
    objective = catalog.build(name)
    batch, leaves = with_gradient(objective.prepare(made(objective)))
    loss = objective.loss(batch)
    loss.require_finite()
    assert any(float(each.abs().max()) > 0 for each in slopes(loss.value(), leaves))
    assert all(not ratio.total.requires_grad and torch.isfinite(ratio.total) for ratio in loss.metrics.values())


@ALL
def test_rows_are_sets_and_weights_are_repetitions(name: str) -> None:
    objective = catalog.build(name)
    given = made(objective)
    once = objective.loss(objective.prepare(given)).value()
    turned = torch.arange(given.rows - 1, -1, -1)
    mirrored = given.take(turned)
    assert float(objective.loss(objective.prepare(mirrored)).value()) == pytest.approx(float(once), abs=1e-12)
    prepared = objective.prepare(given)
    if prepared.pairs is None and name != "d2o":
        prepared = replace(prepared, weight=prepared.weights())
        twice = replace(prepared, weight=torch.where(prepared.prompts() == 0, 2.0, 1.0) * prepared.weights())
        rows = torch.cat([torch.nonzero(prepared.prompts() == 0)[:, 0], torch.arange(prepared.rows)])
        repeated = objective.loss(prepared.take(rows)).value()
        assert float(objective.loss(twice).value()) == pytest.approx(float(repeated), abs=1e-12)


@ALL
def test_halves_of_precision_are_summed_in_full(name: str) -> None:
    objective = catalog.build(name)
    given = made(objective, kind=torch.float32)
    batch, leaves = with_gradient(objective.prepare(replace(given, log_probs=given.log_probs.bfloat16())))
    value = objective.loss(batch).value()
    assert value.dtype == torch.float32
    assert all(torch.isfinite(each).all() for each in slopes(value, leaves))


@ALL
def test_what_is_missing_is_named(name: str) -> None:
    objective = catalog.build(name)
    for need in objective.needs:
        either = need.split("|")
        batch = replace(made(objective), **dict.fromkeys(either))
        with pytest.raises(ObjectiveError, match=" or ".join(f"`{field}`, [^`]+" for field in either)):
            objective.prepare(batch)


@ALL
def test_an_empty_batch_is_an_error(name: str) -> None:
    objective = catalog.build(name)
    batch = objective.prepare(made(objective))
    empty = batch.take(torch.zeros(0, dtype=torch.long)) if name != "d2o" else replace(batch, weight=torch.zeros(12))
    with pytest.raises(ObjectiveError, match="the batch is empty"):
        objective.loss(empty).value()
    with pytest.raises(ObjectiveError, match="the batch is empty"):
        objective.prepare(made(objective).take(torch.zeros(0, dtype=torch.long)))


@ALL
def test_files_say_what_they_are(name: str) -> None:
    kind = catalog.kind(name)
    text = ast.get_docstring(ast.parse(Path(str(kind.__file__)).read_text(encoding="utf-8")))  # type: ignore[attr-defined]
    assert text is not None
    assert name == "sft" or "arXiv" in text or "Bradley" in text or "Williams" in text, "the paper is named"
    assert kind.ROWS in ("data", "law", "policy", "any")
    assert kind.OPTIMUM
    assert {field for need in kind.NEEDS for field in need.split("|")} <= set(Batch.__dataclass_fields__)


# ---------------------------------------------------------------------------------------------- catalogue and options
def test_names_are_listed_without_loading_torch() -> None:
    probe = (
        "import sys, bylaw, bylaw.runtime.cli\n"
        "assert not [name for name in sys.modules if name.startswith('bylaw.runtime.objectives')]\n"
        "from bylaw.runtime.objectives import catalog\n"
        "print(catalog.names(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{catalog.names()} False"
    files = {path.stem for path in Path(package.__path__[0]).glob("*.py")}
    assert {"sft", "distill", "raft", "dpo", "kto", "d2o", "reward_model", "rloo", "grpo", "ppo", "fdpg"} <= files


def test_unknown_names_get_the_nearest_one() -> None:
    with pytest.raises(ObjectiveError, match="did you mean `rloo`"):
        catalog.build("rlo")
    with pytest.raises(ObjectiveError, match="did you mean `sft_weight`"):
        catalog.build("dpo", {"sft_wieght": 1})
    with pytest.raises(ObjectiveError, match="no objective called `interface`"):
        catalog.build("interface")


def test_options_are_read_as_their_types_say() -> None:
    options = {"beta": "0.25", "clip_low": "none", "clip_high": None, "max_tokens": "12"}
    settings = catalog.build("grpo", options).settings
    assert (settings.beta, settings.clip_low, settings.clip_high, settings.max_tokens) == (0.25, None, None, 12)
    assert catalog.build("ppo", {"whiten": "false"}).settings.whiten is False
    for options, message in (
        ({"beta": "much"}, "no number"),
        ({"beta": True}, "no number"),
        ({"beta": float("nan")}, "no number"),
        ({"max_tokens": "2.5"}, "no whole number"),
        ({"reduction": "sum"}, "one of grpo, bnpo, dr_grpo, dapo"),
        ({"reduction": "dr_grpo"}, "set `max_tokens`"),
        ({"clip_low": None}, "go together"),
        ({"beta": -1}, "0 or more"),
    ):
        with pytest.raises(ObjectiveError, match=message):
            catalog.build("grpo", options)
    with pytest.raises(ObjectiveError, match="true or false"):
        catalog.build("ppo", {"whiten": 2})
    with pytest.raises(ObjectiveError, match="above 0"):
        catalog.build("dpo", {"beta": 0})


# --------------------------------------------------------------------------------------------------- batches and losses
def test_shapes_are_checked_with_names() -> None:
    log_probs, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    for given, message in (
        ({"reference": torch.zeros(2, 4)}, r"`reference` has the shape \[2, 4\], not \[2, 3\]"),
        ({"reward": torch.zeros(3)}, r"`reward` has the shape \[3\], not \[2\]"),
        ({"pairs": torch.zeros(4, 3)}, r"`pairs` has the shape \[4, 3\], not \[4, 2\]"),
        ({"rule_rewards": torch.zeros(3, 1)}, r"`rule_rewards` has the shape \[3, 1\], not \[2, 1\]"),
        ({"margin": torch.zeros(1)}, r"`margin` has the shape \[1\], not \[0\]"),
        ({"advantage": torch.zeros(2, 2)}, "`advantage`"),
    ):
        with pytest.raises(ObjectiveError, match=message):
            Batch(log_probs, mask, **given)
    with pytest.raises(ObjectiveError, match="true or false for each token"):
        Batch(log_probs, mask.float())
    with pytest.raises(ObjectiveError, match=r"not \[rows, tokens\]"):
        Batch(torch.zeros(2), mask)


def test_pairs_move_with_their_rows_and_are_never_torn() -> None:
    batch = Batch(
        torch.zeros(4, 1),
        torch.ones(4, 1, dtype=torch.bool),
        pairs=torch.tensor([[0, 1], [3, 2]]),
        margin=torch.tensor([0.1, 0.2]),
    )
    part = batch.take(torch.tensor([2, 3]))
    assert part.pairs.tolist() == [[1, 0]]
    assert part.margin.tolist() == pytest.approx([0.2])
    with pytest.raises(ObjectiveError, match="keep pairs together"):
        batch.take(torch.tensor([0, 1, 2]))


def test_what_stands_off_the_mask_does_not_matter() -> None:
    values = torch.tensor([[1.0, torch.nan, torch.inf]], requires_grad=True)
    total = sums(values, torch.tensor([[True, False, False]])).sum()
    assert float(total.detach()) == 1.0
    assert torch.autograd.grad(total, values)[0].tolist() == [[1, 0, 0]]


def test_a_loss_that_is_no_number_names_its_part() -> None:
    bad = Ratio(torch.tensor(torch.nan), torch.tensor(1.0))
    with pytest.raises(ObjectiveError, match="the loss `policy` is nan"):
        Loss({"policy": (1.0, bad)}, {}).require_finite()
    with pytest.raises(ObjectiveError, match="no parts"):
        Loss({}, {}).value()


def test_hard_rules_in_rewards_are_never_a_silent_number() -> None:
    reward = torch.tensor([1.0, -torch.inf])
    with pytest.raises(ObjectiveError, match="set `hard_penalty`"):
        bounded(reward, None, "rloo")
    assert bounded(reward, 12.0, "rloo").tolist() == [1.0, -12.0]
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ObjectiveError, match="no number"):
            bounded(torch.tensor([bad]), 12.0, "rloo")
    # by rule as well: a rule that does not apply is not one that is broken
    objective = catalog.build("rloo", {"hard_penalty": 3.0, "beta": 0.0})
    batch = replace(made(objective), reward=None, rule_weights=torch.tensor([1.0, 1.0]))
    each = torch.zeros(12, 2)
    each[0, 0], each[1, 0], each[1, 1] = -torch.inf, torch.nan, torch.nan
    found = objective.prepare(replace(batch, rule_rewards=each)).advantage
    assert found[:4].tolist() == pytest.approx([-3.0, 0.0, 1.5, 1.5])


def test_prompts_without_a_usable_sample_are_named() -> None:
    objective = catalog.build("distill")
    batch = made(objective)
    dead = torch.where(batch.prompts() == 1, -torch.inf, batch.log_weight)
    with pytest.raises(NoAllowedSample, match=r"weight 0 for 1 prompt \(1\)") as caught:
        objective.prepare(replace(batch, log_weight=dead))
    assert caught.value.prompts == (1,)
    uneven = torch.where(torch.arange(12) == 0, 30.0, 0.0)
    with pytest.raises(NoAllowedSample, match="less than 50% of the samples are effective"):
        catalog.build("distill", {"least_ess": 0.5}).prepare(replace(batch, log_weight=uneven))
    towards = catalog.build("fdpg", {"divergence": "js"})
    given = made(towards)
    with pytest.raises(NoAllowedSample, match="breaks a hard rule"):
        towards.prepare(replace(given, reward=torch.full((12,), -torch.inf)))
    broken = torch.where(torch.arange(12) == 0, -torch.inf, 0.0)
    strange = replace(given, behaviour=None, reward=broken, log_weight=torch.zeros(12))
    with pytest.raises(ObjectiveError, match="how likely it was to be drawn"):
        towards.prepare(strange)


def test_single_samples_cannot_be_compared() -> None:
    for name in ("rloo", "grpo"):
        objective = catalog.build(name, {"beta": 0.0})
        batch = replace(made(objective), prompt=torch.arange(12))
        with pytest.raises(ObjectiveError, match="draw two or more"):
            objective.prepare(batch)


def test_pairs_of_rewards() -> None:
    reward = torch.tensor([0.0, 2.0, 1.0, -torch.inf, -torch.inf, 5.0])
    group = torch.tensor([0, 0, 0, 0, 0, 1])
    pairs, chance = preference_pairs(reward, group)
    allowed = {(1, 0), (2, 0), (1, 2)}
    assert {tuple(each) for each in pairs.tolist()} == allowed | {(a, b) for a in (0, 1, 2) for b in (3, 4)}
    assert chance[pairs.tolist().index([1, 0])] == pytest.approx(float(torch.sigmoid(torch.tensor(2.0))))
    assert chance[pairs.tolist().index([2, 3])] == 1.0
    far, certain = preference_pairs(reward, group, "extremes", "certain")
    assert (far.tolist(), certain.tolist()) == ([[1, 3]], [1.0])
    with pytest.raises(ObjectiveError, match="no pair to learn from"):
        preference_pairs(torch.ones(3), torch.zeros(3), "extremes")


def test_rewards_of_broken_rules_do_not_drown_what_is_reported() -> None:
    objective = catalog.build("reinforce", {"beta": 0.0, "hard_penalty": 5.0})
    reward = torch.cat([torch.full((3,), -torch.inf), torch.arange(9.0)]).double()
    loss = objective.loss(objective.prepare(replace(made(objective), reward=reward)))
    found = {name: float(ratio.total / ratio.count) for name, ratio in loss.metrics.items()}
    assert found == {"reward": 4.0, "share_forbidden": 0.25}


def test_prompts_keep_their_weights_when_samples_are_normalised() -> None:
    """A prompt of weight 2 is as good as the same prompt twice, under another number."""
    objective = catalog.build("distill")
    batch = made(objective)
    first = torch.where(batch.prompts() == 0, 2.0, 1.0).double()
    weighted = objective.loss(objective.prepare(replace(batch, weight=first))).value()
    rows = torch.cat([torch.arange(12), torch.arange(4)])
    again = replace(batch.take(rows), prompt=torch.cat([batch.prompt, torch.full((4,), 9)]))
    assert float(weighted) == pytest.approx(float(objective.loss(objective.prepare(again)).value()), abs=1e-12)
