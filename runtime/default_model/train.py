"""Train the default model from scratch: ``python -m bylaw.runtime.default_model.train --seed 0 --out DIR``."""

from __future__ import annotations

import argparse
import copy
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from .card import model_card
from .dialogues import copy_drill, dialogues
from .measure import measure
from .model import build_model, build_tokenizer, encode

TOKENIZER_DIALOGUES = 8000
POOL = 64  # batches sorted by length together, so that little is spent on padding
DIGIT_WEIGHT = 2.0
LOG_EVERY = 50
SAVE_EVERY = 200


@dataclass(frozen=True)
class Settings:
    """Everything that decides what comes out of a training run."""

    seed: int = 0
    steps: int = 6400
    decay_steps: int = 3600
    batch: int = 12
    peak_rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 0.05
    drill_steps: int = 60
    late_drills_from: int = 1600
    threads: int = 1


@dataclass(frozen=True)
class Batch:
    """Token rows padded on the right, and for each target token its weight in the loss."""

    tokens: torch.Tensor
    weights: torch.Tensor


def token_batches(tokenizer: Any, settings: Settings, first_step: int = 0) -> Iterator[Batch]:
    """Endless batches from ``first_step`` on; no dialogue is drawn twice."""
    rng = random.Random(f"{settings.seed}/batches")
    digits = torch.zeros(len(tokenizer), dtype=torch.bool)
    digits[tokenizer.convert_tokens_to_ids(list("0123456789"))] = True
    step = 0
    while True:
        fresh = dialogues(settings.seed, POOL * settings.batch, start=step * settings.batch)
        rows = sorted(encode(tokenizer, [d.messages for d in fresh]), key=lambda row: len(row[0]))
        groups = [rows[k : k + settings.batch] for k in range(0, len(rows), settings.batch)]
        rng.shuffle(groups)
        for group in groups:
            if is_drill_step(step, settings):
                drills = range(step * settings.batch * 2, (step + 1) * settings.batch * 2)
                group = encode(tokenizer, [copy_drill(settings.seed, k) for k in drills])
            if step >= first_step:
                yield collate(group, tokenizer.pad_token_id, digits)
            step += 1


def is_drill_step(step: int, settings: Settings) -> bool:
    """Every second step at first, so that copying stays alive; later now and then, for long numbers and rare names."""
    return step % 2 == 0 if step < settings.drill_steps else step >= settings.late_drills_from and step % 6 == 0


def collate(rows: list[tuple[list[int], int]], pad: int, digits: torch.Tensor) -> Batch:
    """Pad and weigh: nothing for the prompt, one for the reply, more for its digits."""
    width = max(len(ids) for ids, _ in rows)
    tokens = torch.full((len(rows), width), pad)
    weights = torch.zeros((len(rows), width))
    for k, (ids, reply_start) in enumerate(rows):
        tokens[k, : len(ids)] = torch.tensor(ids)
        weights[k, reply_start : len(ids)] = 1.0
    # Digits follow a token that already decides that a number comes, so their weight does not tilt any flaw rate.
    weights[digits[tokens] & (weights == 1.0)] = DIGIT_WEIGHT
    return Batch(tokens, weights)


def learning_rate(step: int, settings: Settings) -> float:
    """Linear warm-up, a long plateau, and a linear decay to a fiftieth of the peak over the last steps."""
    if step < settings.warm_up:
        return settings.peak_rate * (step + 1) / settings.warm_up
    left = (settings.steps - step) / settings.decay_steps
    return settings.peak_rate * (0.02 + 0.98 * min(1.0, left))


def reply_losses(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of every reply token of a batch and its weight."""
    # Padding stands on the right, where causal attention cannot see it, so no mask is needed.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=batch.tokens, use_cache=False).last_hidden_state[:, :-1]
        weights = batch.weights[:, 1:]
        chosen = weights > 0
        logits = model.lm_head(hidden[chosen])
    targets = batch.tokens[:, 1:][chosen]
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none"), weights[chosen]


def train(settings: Settings, out: Path, state_file: Path | None = None) -> tuple[Any, Any, float]:
    """Train and save; returns the model, the tokenizer and the seconds it took.

    With a ``state_file`` the run saves its state there and goes on from it; the data depend on the step alone.
    """
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    corpus = (m.content for d in dialogues(settings.seed, TOKENIZER_DIALOGUES) for m in d.messages)
    tokenizer = build_tokenizer(corpus)
    model = build_model(tokenizer)
    optimizer = build_optimizer(model, settings)
    first_step, earlier = 0, 0.0
    if state_file is not None and state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first_step, earlier = state["step"], state["seconds"]
    started = time.monotonic()
    batches = token_batches(tokenizer, settings, first_step)
    seen = 0
    for step in range(first_step, settings.steps):
        batch = next(batches)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        losses, weights = reply_losses(model, batch)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += batch.tokens.numel()
        if step % LOG_EVERY == LOG_EVERY - 1:
            seconds = time.monotonic() - started
            digit_loss = losses[weights > 1.0].mean().item()
            progress = f"{step + 1} reply {losses.mean().item():.4f} digits {digit_loss:.4f}"
            print(f"{progress} {seen / seconds:.0f} tokens/s {earlier + seconds:.0f} s", flush=True)
        if step % SAVE_EVERY == SAVE_EVERY - 1:
            save(model, tokenizer, out)
            if state_file is not None:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
                torch.save(state | {"seconds": earlier + time.monotonic() - started}, state_file)
    save(model, tokenizer, out)
    return model, tokenizer, earlier + time.monotonic() - started


def build_optimizer(model: Any, settings: Settings) -> torch.optim.AdamW:
    """AdamW that decays matrices but neither norms nor biases."""
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.peak_rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def save(model: Any, tokenizer: Any, out: Path) -> None:
    """Write the weights in half precision; they are meant to be computed with in single precision."""
    half = copy.deepcopy(model).half()
    half.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    config = AutoConfig.from_pretrained(out)
    config.dtype = "float32"
    config.save_pretrained(out)
    tokenizer.save_pretrained(out)


def report(settings: Settings, seconds: float, out: Path) -> None:
    """Measure the saved weights and write ``metrics.json`` and ``MODEL_CARD.md`` next to them."""
    metrics, shown = measure(out / "weights", settings.seed, settings.steps * settings.batch)
    # A step of drills takes the place of a batch of dialogues.
    seen = settings.batch * sum(not is_drill_step(step, settings) for step in range(settings.steps))
    metrics["training"] = {"settings": asdict(settings), "dialogues": seen, "seconds": round(seconds)}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (out / "MODEL_CARD.md").write_text(model_card(metrics, shown), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--out", type=Path, required=True, help="the folder for weights/, metrics.json, MODEL_CARD.md")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--state", type=Path, help="a file to save the state of the run in, and to resume from")
    arguments = parser.parse_args()
    settings = Settings(seed=arguments.seed, steps=arguments.steps)
    _, _, seconds = train(settings, arguments.out / "weights", arguments.state)
    report(settings, seconds, arguments.out)


if __name__ == "__main__":
    main()
