"""Our objectives beside TRL's trainers: the same batches, the same losses, five steps of AdamW that end the same."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="objectives need the extra `models`")
pytest.importorskip("trl", reason="these compare with TRL, which is not installed")
transformers = pytest.importorskip("transformers")

from bylaw.runtime.objectives import catalog  # noqa: E402
from bylaw.runtime.objectives.interface import Batch, log_ratios  # noqa: E402
from bylaw.runtime.objectives.kto import reference_point  # noqa: E402

Tensor = torch.Tensor
WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]
STEPS, RATE, SAME = 5, 1e-3, 1e-6
USUAL = {
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    "learning_rate": RATE,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,
    "max_steps": STEPS,
    "logging_steps": 1,
    "seed": 5,
    # AdamW divides by it what is near 0; 1e-8 would blow rounding errors up to whole steps
    "adam_epsilon": 1e-4,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two layers and its tokenizer, saved: TRL loads references from there."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    path = tmp_path_factory.mktemp("tiny")
    names = ["<pad>", "<eos>", "<unk>", *WORDS]
    raw = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **marks).save_pretrained(str(path))
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(
        vocab_size=len(names),
        max_position_embeddings=64,
        initializer_range=0.3,
        pad_token_id=0,
        eos_token_id=1,
        **sizes,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(str(path))
    return path


def language_model(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)


def tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(str(folder))


def log_probs(model: Any, ids: Tensor, attention: Tensor) -> Tensor:
    """[B, L − 1] log-probabilities of the tokens after the first."""
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1]
    return logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]


def recorded(trainer: Any, name: str = "_compute_loss") -> list[tuple[dict[str, Any], float]]:
    """What the trainer will have computed its losses from, and the losses."""
    found: list[tuple[dict[str, Any], float]] = []
    original = getattr(trainer, name)

    def compute(model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        kept = {key: value.clone() if torch.is_tensor(value) else value for key, value in inputs.items()}
        loss = original(model, inputs, *rest, **named)
        found.append((kept, float(loss[0] if isinstance(loss, tuple) else loss)))
        return loss

    setattr(trainer, name, compute)
    return found


def retraced(
    model: Any, steps: list[tuple[dict[str, Any], float]], loss_of: Callable[[Any, dict[str, Any]], Tensor], theirs: Any
) -> None:
    """Five steps with our loss on what TRL saw: each loss and all weights must be the same."""
    assert len(steps) == STEPS
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, eps=USUAL["adam_epsilon"])
    before = [each.detach().clone() for each in model.parameters()]
    for inputs, loss in steps:
        optimiser.zero_grad()
        ours = loss_of(model, inputs)
        assert float(ours) == pytest.approx(loss, abs=SAME)
        ours.backward()
        optimiser.step()
    mine, other = dict(model.named_parameters()), dict(theirs.named_parameters())
    moved = max(float((a - b).abs().max()) for a, b in zip(before, model.parameters(), strict=True))
    assert moved > RATE, "a test of steps that go nowhere"
    assert max(float((mine[name] - other[name]).abs().max()) for name in mine) < SAME


# ------------------------------------------------------------------------------------------------------ preferences
PAIRS = [
    {"prompt": "a b", "chosen": " c d e", "rejected": " f"},
    {"prompt": "c", "chosen": " a a", "rejected": " h g f e"},
    {"prompt": "e f g", "chosen": " b", "rejected": " d d"},
    {"prompt": "h", "chosen": " g e", "rejected": " a b c"},
]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {}),
        ({"f_divergence_type": "forward_kl"}, {"divergence": "forward_kl"}),
        ({"f_divergence_type": "js_divergence"}, {"divergence": "js"}),
        (
            {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.5},
            {"divergence": "alpha", "alpha": 0.5},
        ),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]}, {"sft_weight": 0.2}),
        ({"loss_type": ["robust"], "label_smoothing": 0.1}, {"label_smoothing": 0.1, "smoothing": "robust"}),
    ],
    ids=["reverse_kl", "forward_kl", "js", "alpha", "with_sft", "robust"],
)
def test_preferences(folder: Path, tmp_path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    arguments = DPOConfig(output_dir=str(tmp_path), per_device_train_batch_size=4, beta=0.5, **USUAL, **theirs)
    trainer = DPOTrainer(
        language_model(folder),
        ref_model=language_model(folder),
        args=arguments,
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=tokenizer(folder),
    )
    steps = recorded(trainer)
    trainer.train()
    objective = catalog.build("dpo", {"beta": 0.5, **ours})
    reference = language_model(folder)

    def loss_of(model: Any, inputs: dict[str, Any]) -> Tensor:
        ids, attention = inputs["input_ids"], inputs["attention_mask"]
        half = ids.shape[0] // 2
        with torch.no_grad():
            before = log_probs(reference, ids, attention)
        batch = Batch(
            log_probs(model, ids, attention),
            inputs["completion_mask"][:, 1:].bool(),
            reference=before,
            pairs=torch.stack([torch.arange(half), torch.arange(half) + half], dim=1),
        )
        return objective.loss(objective.prepare(batch)).value()

    retraced(language_model(folder), steps, loss_of, trainer.model)


def test_reward_models_with_margins_and_centring(folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    rows = [
        {
            "chosen": pair["prompt"] + pair["chosen"],
            "rejected": pair["prompt"] + pair["rejected"],
            "margin": 0.1 * number,
        }
        for number, pair in enumerate(PAIRS)
    ]
    torch.manual_seed(2)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        str(folder), num_labels=1, dtype=torch.float32
    )
    start = copy.deepcopy(model)
    arguments = RewardConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, center_rewards_coefficient=0.05, **USUAL
    )
    trainer = RewardTrainer(
        model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer(folder)
    )
    steps = recorded(trainer, "compute_loss")
    trainer.train()
    objective = catalog.build("reward_model", {"centring": 0.05})

    def loss_of(network: Any, inputs: dict[str, Any]) -> Tensor:
        ids, attention = inputs["input_ids"], inputs["attention_mask"]
        half = ids.shape[0] // 2
        batch = Batch(
            torch.zeros(ids.shape),
            attention.bool(),
            score=network(input_ids=ids, attention_mask=attention).logits[:, 0],
            pairs=torch.stack([torch.arange(half), torch.arange(half) + half], dim=1),
            margin=inputs["margin"],
        )
        return objective.loss(objective.prepare(batch)).value()

    retraced(start, steps, loss_of, trainer.model)


def test_desirable_and_undesirable_responses(folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    rows = [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in PAIRS
        for side in ("chosen", "rejected")
    ]
    given = {"beta": 0.5, "desirable_weight": 1.0, "undesirable_weight": 1.3}
    arguments = KTOConfig(output_dir=str(tmp_path), per_device_train_batch_size=8, **USUAL, **given)
    trainer = KTOTrainer(
        language_model(folder),
        ref_model=language_model(folder),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(folder),
    )
    steps = recorded(trainer)
    trainer.train()
    objective = catalog.build("kto", given)
    reference = language_model(folder)

    def loss_of(model: Any, inputs: dict[str, Any]) -> Tensor:
        found = {}
        for prefix in ("", "KL_"):
            ids, attention = inputs[f"{prefix}input_ids"], inputs[f"{prefix}attention_mask"]
            mask = inputs[f"{prefix}completion_mask"][:, 1:].bool()
            with torch.no_grad():
                before = log_probs(reference, ids, attention)
            found[prefix] = Batch(log_probs(model, ids, attention), mask, reference=before)
        point = reference_point(log_ratios(found["KL_"]))
        desirable = torch.as_tensor(inputs["label"], dtype=torch.bool)
        batch = replace(found[""], desirable=desirable, reference_point=point)
        return objective.loss(objective.prepare(batch)).value()

    retraced(language_model(folder), steps, loss_of, trainer.model)


# -------------------------------------------------------------------------------------------------- policy gradients
GENERATIONS, PROMPTS, LONGEST = 4, ["a b", "c", "e f g"], 6


def many_as(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Tokens of the first kind."""
    return [float(sum(token in (3, 4, 5) for token in row)) for row in completion_ids]


def short(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
    """Does not apply to responses that hold a certain token."""
    return [None if 7 in row else -0.3 * len(row) for row in completion_ids]


REWARDS, WEIGHTS = [many_as, short], [1.0, 2.0]


def rewarded(ids: Tensor, mask: Tensor) -> Tensor:
    """[B, J] what the reward functions say of the responses, NaN where they do not apply."""
    rows = [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
    columns = [[float("nan") if each is None else each for each in scored(rows)] for scored in REWARDS]
    return torch.tensor(columns).T


def policy_trainer(kind: str, folder: Path, tmp_path: Path, **options: Any) -> Any:
    import trl
    from datasets import Dataset

    shared = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": GENERATIONS * len(PROMPTS),
        "num_generations": GENERATIONS,
        "max_completion_length": LONGEST,
        "reward_weights": WEIGHTS,
    }
    return getattr(trl, f"{kind}Trainer")(
        language_model(folder),
        REWARDS,
        args=getattr(trl, f"{kind}Config")(**shared, **USUAL, **options),
        train_dataset=Dataset.from_list([{"prompt": each} for each in PROMPTS]),
        processing_class=tokenizer(folder),
    )


def rollout(model: Any, reference: Any, inputs: dict[str, Any]) -> Batch:
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    kept = slice(inputs["prompt_ids"].shape[1] - 1, None)
    with torch.no_grad():
        before = log_probs(reference, ids, attention)[:, kept]
    found = log_probs(model, ids, attention)[:, kept]
    return Batch(
        found,
        inputs["completion_mask"].bool(),
        reference=before,
        behaviour=inputs.get("old_per_token_logps", found.detach()),
        rule_rewards=rewarded(inputs["completion_ids"], inputs["completion_mask"]),
        rule_weights=torch.tensor(WEIGHTS),
        prompt=torch.unique(inputs["prompt_ids"], dim=0, return_inverse=True)[1],  # TRL shuffles the rows
    )


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"loss_type": "dapo"}, {"reduction": "dapo", "aggregation": "sum_then_normalise"}),
        (
            {"loss_type": "dapo", "num_iterations": 3, "epsilon": 0.02, "epsilon_high": 0.03, "delta": 1.05},
            {
                "reduction": "dapo",
                "aggregation": "sum_then_normalise",
                "clip_low": 0.02,
                "clip_high": 0.03,
                "largest_ratio": 1.05,
            },
        ),
        (
            {
                "loss_type": "grpo",
                "beta": 0.1,
                "multi_objective_aggregation": "normalize_then_sum",
                "use_bias_correction_kl": False,
            },
            {"reduction": "grpo", "beta": 0.1, "kl": "k3"},
        ),
        (
            {"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.1},
            {
                "reduction": "dr_grpo",
                "max_tokens": LONGEST,
                "scale": "none",
                "aggregation": "sum_then_normalise",
                "beta": 0.1,
            },
        ),
        (
            {"loss_type": "bnpo", "scale_rewards": "batch", "importance_sampling_level": "sequence"},
            {"reduction": "bnpo", "scale": "batch", "aggregation": "sum_then_normalise", "ratio": "sequence"},
        ),
    ],
    ids=["dapo", "stale", "grpo", "dr_grpo", "bnpo"],
)
def test_group_relative_policies(folder: Path, tmp_path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    trainer = policy_trainer("GRPO", folder, tmp_path, **theirs)
    steps = recorded(trainer)
    trainer.train()
    objective = catalog.build("grpo", ours)
    reference = language_model(folder)

    def loss_of(model: Any, inputs: dict[str, Any]) -> Tensor:
        assert ("old_per_token_logps" in inputs) == ("num_iterations" in theirs)  # ratios other than 1 there
        batch = objective.prepare(rollout(model, reference, inputs))
        assert torch.allclose(batch.advantage, inputs["advantages"], atol=1e-5)
        return objective.loss(batch).value()

    retraced(language_model(folder), steps, loss_of, trainer.model)


@pytest.mark.parametrize("normalise", [False, True])
def test_leave_one_out_policies(folder: Path, tmp_path: Path, normalise: bool) -> None:
    trainer = policy_trainer("RLOO", folder, tmp_path, beta=0.3, normalize_advantages=normalise)
    steps = recorded(trainer)
    trainer.train()
    objective = catalog.build("rloo", {"beta": 0.3, "normalise": normalise})
    reference = language_model(folder)

    def loss_of(model: Any, inputs: dict[str, Any]) -> Tensor:
        batch = objective.prepare(rollout(model, reference, inputs))
        assert torch.allclose(batch.advantage, inputs["advantages"], atol=1e-5)
        return objective.loss(batch).value()

    retraced(language_model(folder), steps, loss_of, trainer.model)
