"""Runs that are interrupted end with the same weights; runs that cannot go on say why, and lose nothing."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from training_worlds import CAP, POLICY, Quiet, compiled, llama, prompts

from bylaw.runtime.cli import main
from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.runtime.training import checkpoint, loop
from bylaw.runtime.training.checkpoint import newest
from bylaw.runtime.training.errors import CheckpointError, Diverged, NothingToLearn, TrainingError
from bylaw.runtime.training.network import PolicyNetwork
from bylaw.runtime.training.settings import Bounds, Evaluation, Lora, Optimiser, TrainSettings, objective_of
from bylaw.runtime.training.train import TrainResult, train_policy

RUN = TrainSettings(
    objective="rloo", options=(("hard_penalty", "5"),), rounds=3, samples=12, epochs=2, prompts_per_step=1,
    micro_rows=8, max_tokens=CAP, optimiser=Optimiser(rate=3e-3, warm_up=2), checkpoint_every=1,
    evaluation=Evaluation(samples=8, law_samples=8, every=2),
)  # fmt: skip
LIMITED = POLICY + "rule some_aa at user { limit response contains /aa/ to at most 10% of responses }\n"


class Killed(BaseException):
    """Stands for the end of the process."""


def run(settings: TrainSettings, out: Path, text: str = POLICY, **more: Any) -> TrainResult:
    return train_policy(compiled(text).require(), prompts(), llama(seed=3), settings, out, Quiet(), **more)


def ends(out: Path) -> tuple[dict[str, torch.Tensor], str, str]:
    """What a run leaves: weights, metrics, record."""
    weights = load_file(str(out / "model" / "model.safetensors"))
    return weights, (out / "metrics.jsonl").read_text(), (out / "train.json").read_text()


def same(left: Path, right: Path) -> None:
    first, second = ends(left), ends(right)
    assert set(first[0]) == set(second[0])
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])
    assert first[1:] == second[1:]


def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch, *, in_checkpoint: bool) -> None:
    """The run ends after so many steps of the optimiser: at once, or in the middle of writing what it had reached."""
    step, write, taken = loop.Trainer._step, checkpoint.save_file, [0]

    def counted(self: loop.Trainer, *given: Any) -> None:
        if taken[0] >= steps and not in_checkpoint:
            raise Killed
        step(self, *given)
        taken[0] += 1

    def torn(tensors: Any, path: str) -> None:
        if taken[0] >= steps and in_checkpoint:
            Path(path).write_bytes(b"half a file")
            raise Killed
        write(tensors, path)

    monkeypatch.setattr(loop.Trainer, "_step", counted)
    monkeypatch.setattr(checkpoint, "save_file", torn)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (RUN, POLICY),
        (replace(RUN, objective="distill", options=(), redraw=2, ascent=0.1, lora=Lora(2)), LIMITED),
    ],
    ids=["rloo", "distill with adapters and a limit"],
)
def test_a_run_that_is_killed_ends_with_the_same_weights(
    settings: TrainSettings, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed three times at random places, between and within checkpoints: bit-equal weights, metrics and record."""
    run(settings, tmp_path / "whole", text)
    rng = random.Random(7)
    for number in range(3):
        with monkeypatch.context() as patch:
            killed_after(rng.randrange(0, 4), patch, in_checkpoint=number == 1)
            with pytest.raises(Killed):
                run(settings, tmp_path / "cut", text)
    result = run(settings, tmp_path / "cut", text)
    assert result.went_on
    same(tmp_path / "whole", tmp_path / "cut")
    assert json.loads((tmp_path / "cut" / "train.json").read_text())["steps"] == 12


def test_a_limit_moves_its_multiplier(tmp_path: Path) -> None:
    """Dual ascent from 0: /aa/ is too frequent under the other rules, so its multiplier rises, and its rate falls."""
    settings = replace(
        RUN, objective="distill", options=(), ascent=1.0, rounds=20, samples=100, epochs=1, micro_rows=1000,
        evaluation=Evaluation(samples=50, law_samples=200, every=0),
    )  # fmt: skip
    text = POLICY + "rule some_a at user { limit response contains /a/ to at most 10% of responses }\n"
    result = run(settings, tmp_path / "out", text)
    first, last = result.base["rules"]["some_a"], result.last["rules"]["some_a"]
    assert first["multiplier"] == 0.0
    assert last["multiplier"] > 0.5
    assert first["law"] > 0.2
    # 400 draws of the law in all at the last multiplier, which the ascent need not have settled
    assert last["law"] == pytest.approx(0.1, abs=0.06)


def test_damaged_checkpoints_are_passed_over(tmp_path: Path) -> None:
    run(RUN, tmp_path)
    folder = tmp_path / "checkpoints"
    found = sorted(folder.glob("step-*"))
    assert len(found) == RUN.keep_checkpoints
    identity = json.loads((tmp_path / "run.json").read_text())["identity"]
    (found[-1] / "policy.safetensors").write_bytes(b"")
    loaded, remarks = newest(folder, identity)
    assert loaded is not None
    assert "damaged" in remarks[0]
    shutil.rmtree(found[0])
    with pytest.raises(CheckpointError, match="every checkpoint"):
        newest(folder, identity)


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    run(replace(RUN, rounds=1), tmp_path / "out")
    with pytest.raises(CheckpointError, match="holds another run"):
        run(replace(RUN, rounds=1, seed=1), tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="holds other files"):
        run(RUN, tmp_path / "full")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        run(RUN, tmp_path / "file" / "out")


# --------------------------------------------------------------------------------------------------------- faults
def test_a_loss_that_is_no_number_ends_the_run_with_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_probs, calls = PolicyNetwork.log_probs, [0]

    def poisoned(self: PolicyNetwork, *given: Any) -> torch.Tensor:
        calls[0] += 1
        found = log_probs(self, *given)
        return found * float("nan") if calls[0] > 6 else found

    with monkeypatch.context() as patch:
        patch.setattr(PolicyNetwork, "log_probs", poisoned)
        with pytest.raises(Diverged, match=r"step 4: .*nan.*step-00000003.* is whole"):
            run(RUN, tmp_path / "out")
    run(RUN, tmp_path / "out")
    run(RUN, tmp_path / "whole")
    same(tmp_path / "whole", tmp_path / "out")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = checkpoint.save_file, [0]

    def full(tensors: Any, path: str) -> None:
        calls[0] += 1
        if calls[0] > 8:
            raise OSError(28, "No space left on device")
        write(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(CheckpointError, match="no space left on device; earlier ones are kept"):
            run(RUN, tmp_path / "out")
    assert not list((tmp_path / "out" / "checkpoints").glob(".*"))
    run(RUN, tmp_path / "out")
    run(RUN, tmp_path / "whole")
    same(tmp_path / "whole", tmp_path / "out")


def test_rules_that_no_sample_keeps(tmp_path: Path) -> None:
    """The policy writes nothing that is allowed: the message names the rule and the way out."""
    text = 'policy letters version "1" edition 1\nrule bb at user { must contain /bb/ }\n'
    settings = replace(RUN, objective="raft", options=(), samples=2)
    with pytest.raises(NothingToLearn, match=r"every one of 4 samples breaks `bb`.*--rows law") as caught:
        run(settings, tmp_path / "out", text)
    assert caught.value.terms == ("bb",)
    with pytest.raises(NothingToLearn, match="no prompts"):
        train_policy(compiled().require(), [], llama(), RUN, tmp_path / "none", Quiet())


def test_what_the_loop_does_not_train_is_refused_by_name() -> None:
    for name in ("ppo", "reward_model", "kto"):
        with pytest.raises(TrainingError, match=f"`{name}` is not yet trained by the loop"):
            objective_of(TrainSettings(objective=name))
    with pytest.raises(ObjectiveError, match="did you mean `distill`"):
        objective_of(TrainSettings(objective="distil"))
    with pytest.raises(TrainingError, match="learns from what the policy"):
        objective_of(TrainSettings(objective="raft", rows="law"))
    with pytest.raises(TrainingError, match="`learning_rate` is -1"):
        Optimiser(rate=-1)


def test_a_run_stops_where_it_leaves_the_base_model(tmp_path: Path) -> None:
    settings = replace(
        RUN, rounds=6, optimiser=Optimiser(3e-2, warm_up=0), bounds=Bounds(kl=0.05), samples=32, micro_rows=100,
        evaluation=Evaluation(samples=32, law_samples=32, every=1),
    )  # fmt: skip
    result = run(settings, tmp_path / "out")
    assert result.stopped is not None
    assert "beyond 0.05" in result.stopped
    assert result.position.round < 6
    assert any("beyond the bound of 0.05" in said for said in result.suspicious)


# ------------------------------------------------------------------------------------------------------ data and verb
def test_data_sets(tmp_path: Path) -> None:
    """SFT on completions and DPO on pairs; wrong lines are named."""
    from bylaw.runtime.training.dataset import read_examples

    plain, pairs = tmp_path / "plain.jsonl", tmp_path / "pairs.jsonl"
    plain.write_text(
        '{"prompt": "x", "completion": "b"}\n{"prompt": [{"role": "user", "content": "y"}], "completion": "aa"}\n'
    )
    pairs.write_text(
        '{"prompt": "x", "chosen": "b", "rejected": "a"}\n{"prompt": "y", "chosen": "", "rejected": "b"}\n'
    )
    for name, path in (("sft", plain), ("dpo", pairs)):
        settings = replace(RUN, objective=name, options=(), rows="data", rounds=3, optimiser=Optimiser(2e-2, warm_up=0))
        result = run(settings, tmp_path / name, data=read_examples(path))
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses = [line[f"loss_{'likelihood' if name == 'sft' else 'preference'}"] for line in lines if "rows" in line]
        assert losses[-1] < 0.8 * losses[0]
        assert result.position.step == 12
    wrong = tmp_path / "wrong.jsonl"
    for line, said in (
        ("{", "line 1"),
        ('{"prompt": "x"}', "neither"),
        ('{"prompt": 3, "completion": "a"}', "messages"),
    ):
        wrong.write_text(line + "\n")
        with pytest.raises(TrainingError, match=said):
            read_examples(wrong)


def test_the_verb_refuses_what_cannot_be(tmp_path: Path) -> None:
    rules, file = tmp_path / "rules.bylaw", tmp_path / "prompts.txt"
    rules.write_text('policy p version "1" edition 1\nrule r at user { must not contain "damn" }\n')
    file.write_text("Where is my parcel?\n")
    for arguments, code, said in (
        (["--objective", "distil"], 2, "did you mean `distill`"),
        (["--objective", "ppo"], 2, "not yet trained by the loop"),
        (["--option", "least_ess"], 2, "write NAME=VALUE"),
        (["--rounds", "0"], 2, "Invalid value"),
        (["--objective", "sft", "--data", str(tmp_path / "none.jsonl")], 2, "cannot be read"),
    ):
        done = CliRunner().invoke(
            main, ["train", str(rules), "--prompts", str(file), "--out", str(tmp_path / "o"), *arguments]
        )
        assert done.exit_code == code, done.output
        assert said in done.output
        assert not (tmp_path / "o").exists()
    assert "distill" in CliRunner().invoke(main, ["train", "--objectives"]).output


def test_the_verb_trains_the_model_that_comes_with_bylaw(tmp_path: Path) -> None:
    """One short round: the folder holds a model that loads, and the same command goes on with nothing to do."""
    rules, file = tmp_path / "rules.bylaw", tmp_path / "prompts.txt"
    rules.write_text('policy p version "1" edition 1\nrule r at user { should not contain "e" weight 1 }\n')
    file.write_text("Where is my parcel?\nCan I have my money back?\n")
    out = tmp_path / "out"
    command = [
        "train", str(rules), "--prompts", str(file), "--out", str(out), "--max-tokens", "6", "--rounds", "1",
        "--samples", "8", "--eval-samples", "8", "--law-samples", "8", "--learning-rate", "1e-4", "--json",
    ]  # fmt: skip
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["steps"] == 1
    assert told["before"]["kl_to_base"]["value"] == pytest.approx(0.0, abs=1e-5)
    assert told["after"]["kl_to_base"]["value"] != 0.0
    from bylaw.runtime.models import load_model

    assert load_model(out / "model").parameters > 0
    record = json.loads((out / "train.json").read_text())
    assert record["policy"]["name"] == "p"
    assert record["before"]["rules"]["r"]["rate"] == told["before"]["rules"]["r"]["rate"]
    before = (out / "model" / "model.safetensors").read_bytes()
    assert CliRunner().invoke(main, command).exit_code == 0
    assert (out / "model" / "model.safetensors").read_bytes() == before
