"""Bundles for verl and OpenRLHF, without either: keys and options that exist, commands, data, and their rewards."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from target_policies import HOSTILE_TEXTS, MULTIPLIERS, SMALL, compiled, inputs, lines, prompts

from bylaw.compiler.evaluate import evaluate
from bylaw.compiler.targets import openrlhf, verl
from bylaw.compiler.targets._messages import conversation_of
from bylaw.compiler.targets._prompts import parted
from bylaw.compiler.targets._prompts import prompts as prompts_of
from bylaw.compiler.targets.bundle import bundle
from bylaw.compiler.targets.interface import Made, Options, TargetError
from bylaw.compiler.targets.writing import write_bundle
from bylaw.spec.trace import Message, Trace

POLICY = compiled(SMALL)
PROGRAM = POLICY.require().with_multipliers(MULTIPLIERS)
KEYS = json.loads((Path(__file__).parent / "engine_keys.json").read_text(encoding="utf-8"))


def made_for(name: str, traces: tuple[Trace, ...] = prompts(), **options: Any) -> Made:
    return bundle(name, inputs(POLICY, traces, Options(**options), PROGRAM))[1]


def leaves(data: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= leaves(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found


# ------------------------------------------------------------------------------------------------- keys of the engines
def test_every_key_of_the_configuration_is_one_of_verls() -> None:
    assert KEYS["verl"]["version"] == verl.VERSION
    found = leaves(yaml.safe_load(made_for("verl").files["config.yaml"]))
    own = {"hydra.searchpath", "defaults"}
    assert set(found) - own <= set(KEYS["verl"]["keys"])
    assert found["defaults"] == ["ppo_trainer", "_self_"]


def test_every_option_is_one_of_openrlhfs() -> None:
    assert KEYS["openrlhf"]["version"] == openrlhf.VERSION
    files = made_for("openrlhf").files
    options = yaml.safe_load(files["options.yaml"])
    command = files["run.sh"].decode("utf-8")
    written = {word.removeprefix("--") for word in command.split() if word.startswith("--") and word != "--option"}
    assert set(options) <= written <= set(KEYS["openrlhf"]["options"])


@pytest.mark.parametrize("name", ["verl", "openrlhf"])
def test_the_objective_is_the_laws(name: str) -> None:
    """The KL divergence inside the reward at coefficient 1, sampling from the model as it is, no clipping."""
    if name == "verl":
        found = leaves(yaml.safe_load(made_for(name, samples=5, max_tokens=99).files["config.yaml"]))
        assert found["algorithm.kl_ctrl.kl_coef"] == 1.0
        assert found["algorithm.use_kl_in_reward"] is True
        assert found["actor_rollout_ref.actor.use_kl_loss"] is False
        assert found["actor_rollout_ref.actor.loss_agg_mode"] == "seq-mean-token-sum"
        temperature, count, length = "rollout.temperature", "rollout.n", "data.max_response_length"
        found |= {key.removeprefix("actor_rollout_ref."): value for key, value in found.items()}
    else:
        found = yaml.safe_load(made_for(name, samples=5, max_tokens=99).files["options.yaml"])
        assert found["algo.kl.init_coef"] == 1.0
        assert found["reward.clip_range"] == [-1_000_000, 1_000_000]
        temperature, count, length = "rollout.temperature", "rollout.n_samples_per_prompt", "rollout.max_new_tokens"
    assert (found[temperature], found[count], found[length]) == (1.0, 5, 99)


# ------------------------------------------------------------------------------------------------------------ commands
@pytest.mark.parametrize("name", ["verl", "openrlhf"])
def test_the_command_reaches_the_engine_from_any_folder(name: str, tmp_path: Path) -> None:
    """With a stand-in for python3 that prints what it was given."""
    folder = tmp_path / "a b'c $(touch x)"
    write_bundle(folder, made_for(name).files)
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "python3"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    stand_in.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {"PATH": path, "MODEL": "my model", "GPUS": "2"}
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "cwd": tmp_path}
    done = subprocess.run([str(folder / "run.sh"), "last=1"], env=environment, **options)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    assert words[-1] == "last=1"
    if name == "verl":
        quoted = str(folder).replace("'", "\\'")
        assert f"data.train_files='{quoted}/train.jsonl'" in words
        assert f"reward.custom_reward_function.path='{quoted}/rewards.py'" in words
        assert words[words.index("--config-path") + 1] == str(folder)
        assert "actor_rollout_ref.model.path='my model'" in words
        assert "trainer.n_gpus_per_node=2" in words
    else:
        assert words[words.index("--train.agent_func_path") + 1] == f"{folder}/agent.py"
        assert words[words.index("--data.prompt_dataset") + 1] == f"{folder}/prompts.jsonl"
        assert words[words.index("--reward.clip_range") + 1 :][:2] == ["-1000000", "1000000"]
    assert not (tmp_path / "x").exists()
    without = subprocess.run([str(folder / "run.sh")], env={"PATH": path}, **options)
    assert without.returncode != 0
    assert "set MODEL to the model to train" in without.stderr


def test_a_path_that_openrlhf_would_cut_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    write_bundle(folder, made_for("openrlhf").files)
    run = [str(folder / "run.sh")]
    done = subprocess.run(
        run, env={"PATH": os.environ["PATH"], "MODEL": "m"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "move this folder" in done.stderr
    assert shlex.split(run[0]) == run


# ---------------------------------------------------------------------------------------------------------------- data
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_verl_reads_rows_that_its_reward_function_takes(kind: str, tmp_path: Path) -> None:
    """Through the file, and the module as verl loads it: the reward of the evaluator, whatever the prompt holds."""
    called = Trace(
        (Message("system", "s"), Message("user", "a"), Message("tool", "out", "t"), Message("user", "porridge"))
    )
    files = made_for("verl", (*prompts(), called), table=kind).files
    write_bundle(tmp_path / "v", files)
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(tmp_path / "v" / "train.parquet").to_pylist()
    else:
        rows = lines((tmp_path / "v" / "train.jsonl").read_bytes())
    assert {text for row in rows for text in (row["prompt"][-1]["content"],)} >= set(HOSTILE_TEXTS)
    spec = importlib.util.spec_from_file_location(f"custom_module_{kind}", tmp_path / "v" / "rewards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for row in rows:
        assert row["reward_model"] == {"style": "rule", "ground_truth": ""}
        found = module.compute_score(
            data_source=row["data_source"], solution_str="Oats and rye!", ground_truth="", extra_info=row["extra_info"]
        )
        trace = conversation_of(row["extra_info"]["conversation"]).answered("Oats and rye!")
        assert found["score"] == pytest.approx(evaluate(PROGRAM, trace).reward, abs=1e-12)


def test_openrlhf_gives_rewards_to_the_tokens_that_were_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for its executor: the answer is what was sampled, special tokens left out."""
    vocabulary = ["<|user|>", "porridge?", "<|end|>", "Oats ", "and rye!"]

    class Executor:
        def __init__(self, remote_rm_url: Any = None) -> None:
            assert remote_rm_url is None

        async def execute(self, prompt: Any, label: Any, *_: Any, **__: Any) -> dict[str, Any]:
            return {"observation_tokens": [0, 1, 2, 3, 4, 2], "action_ranges": [(3, 6)], "reward": None}

    agent = ModuleType("openrlhf.utils.agent")
    agent.SingleTurnAgentExecutor = Executor  # type: ignore[attr-defined]
    for name in ("openrlhf", "openrlhf.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "openrlhf.utils.agent", agent)
    trace = Trace((Message("user", "porridge?"),))
    files = made_for("openrlhf", (trace,)).files
    write_bundle(tmp_path / "o", files)
    (row,) = lines(files["prompts.jsonl"])
    assert row["input"] == [{"role": "user", "content": "porridge?"}]
    spec = importlib.util.spec_from_file_location("agent_module", tmp_path / "o" / "agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def decode(tokens: list[int], skip_special_tokens: bool) -> str:
        return "".join(vocabulary[t] for t in tokens if not (skip_special_tokens and vocabulary[t].startswith("<|")))

    tokenizer = SimpleNamespace(decode=decode)
    found = asyncio.run(module.AgentExecutor().execute("x", row["label"], None, 100, tokenizer, None))
    score = evaluate(PROGRAM, trace.answered("Oats and rye!"))
    assert found["reward"] == found["scores"] == pytest.approx(score.reward, abs=1e-12)
    assert found["extra_logs"]["rule/rare"] == -1.5
    with pytest.raises(module._rewards.REWARDS.compute_score.__globals__["RewardError"]):
        asyncio.run(module.AgentExecutor().execute("x", "no label", None, 100, tokenizer, None))


def test_prompts_stand_once_and_some_are_held_out() -> None:
    traces = prompts(60)
    found, left_out = prompts_of((*traces, *traces), ())
    assert (len(found), left_out) == (len(traces), ())
    train, held_out = parted(found)
    assert len(train) + len(held_out) == len(found)
    assert 0 < len(held_out) < len(found) / 4
    assert not {each.conversation for each in train} & {each.conversation for each in held_out}
    again, _ = parted(found[::-1])
    assert {each.conversation for each in again} == {each.conversation for each in train}


def test_prompts_that_lack_a_fact_are_left_out_by_rule() -> None:
    policy = compiled('policy a.b version "1"\nlevels x > y\nrule r at x { when meta.vip must contain "sir" }\n')
    vip, unknown = (Trace((Message("user", text),), facts) for text, facts in (("a", {"meta.vip": True}), ("b", {})))
    manifest, made = bundle("openrlhf", inputs(policy, (vip, unknown)))
    assert [(each["what"], each["count"]) for each in manifest["left_out"]] == [("`r`", 1)]
    (row,) = lines(made.files["prompts.jsonl"])
    assert json.loads(str(row["label"]))["facts"] == {"meta.vip": True}
    with pytest.raises(TargetError, match="there is no prompt to train on: `r`: 1 prompt left out"):
        bundle("openrlhf", inputs(policy, (unknown,)))


def test_a_prompt_that_openrlhf_takes_for_a_picture_is_left_out() -> None:
    picture = Trace((Message("user", "What is <image>?"),))
    manifest, made = bundle("openrlhf", inputs(POLICY, (*prompts(), picture), program=PROGRAM))
    assert [each["what"] for each in manifest["left_out"]] == ["1 prompt"]
    assert b"<image>" not in made.files["prompts.jsonl"]
    assert b"<image>" in made_for("verl", (*prompts(), picture)).files["train.jsonl"]


def test_parquet_without_its_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TargetError, match=r"needs the extra `parquet`.*--table jsonl"):
        made_for("verl", table="parquet")
