"""A bundle that trains under the policy with verl: configuration, reward module, prompts, command.

Files: `config.yaml` (for Hydra, on top of verl's own defaults), `rewards.py` and `program.json`, `train` and `val`
(Parquet or JSON Lines), `run.sh`, `README.md`. Keys are those of verl 0.9.1.
"""

from __future__ import annotations

from typing import Any

from bylaw.compiler.targets._files import origin, rendered, table
from bylaw.compiler.targets._messages import message_data
from bylaw.compiler.targets._prompts import Prompt, parted, prompts
from bylaw.compiler.targets.interface import Data, Inputs, Made
from bylaw.compiler.targets.rewards import module

DATA: Data = "prompts"
OPTIONS: frozenset[str] = frozenset({"calibration", "hard_penalty", "max_tokens", "samples", "table", "unscored"})
VERSION = "0.9.1"
"""Of verl, whose keys the configuration has."""
_BATCH = 64


def build(inputs: Inputs) -> Made:
    """The bundle: RLOO with the KL divergence inside the reward at coefficient 1, whose optimum is the law. Raises
    TargetError for a policy without reward functions, and for data without prompts."""
    made, rewards = module(inputs)
    found, lost = prompts(inputs.traces, tuple(each.term for each in rewards.terms.values()))
    train, held_out = parted(found)
    kind = inputs.options.table
    files = {f"train.{kind}": table(_rows(train, inputs), kind), f"val.{kind}": table(_rows(held_out, inputs), kind)}
    batch = min(_BATCH, len(train))
    values = {**origin(inputs), "engine": VERSION, "kind": kind}
    left_out = (*made.left_out, *lost)
    files |= {
        "config.yaml": yaml_text(_config(inputs, batch, kind), inputs),
        "run.sh": rendered("verl_run.sh.j2", **values),
        "README.md": rendered(
            "verl_readme.md.j2", **values, train=len(train), held_out=len(held_out), left_out=left_out,
            is_same=held_out is train, samples=inputs.options.samples, notes=made.notes,
        ),
    }  # fmt: skip
    return Made({**made.files, **files}, left_out, made.notes)


def _rows(found: list[Prompt], inputs: Inputs) -> list[dict[str, Any]]:
    """Rows as verl's RLHFDataset reads them; a conversation with tool calls is in `extra_info` as it was."""
    digest = inputs.program.digest
    return [
        {
            "data_source": inputs.program.policy,
            "prompt": _chat(each),
            "ability": "policy",
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {
                "index": number,
                "id": each.trace.id,
                "conversation": each.conversation,
                "rules_digest": digest,
            },
        }
        for number, each in enumerate(found)
    ]


def _chat(prompt: Prompt) -> list[dict[str, Any]]:
    """The messages with the same keys in each, as a table needs them; calls only where there are some."""
    return message_data(prompt.trace.messages)


def _config(inputs: Inputs, batch: int, kind: str) -> dict[str, Any]:
    """What differs from verl's defaults. Sampling has to be that of the base model: temperature 1, nothing cut off."""
    return {
        "hydra": {"searchpath": ["pkg://verl.trainer.config"]},
        "defaults": ["ppo_trainer", "_self_"],
        "data": {
            "train_files": f"train.{kind}",
            "val_files": f"val.{kind}",
            "prompt_key": "prompt",
            "reward_fn_key": "data_source",
            "train_batch_size": batch,
            "max_prompt_length": 2048,
            "max_response_length": inputs.options.max_tokens,
            "truncation": "error",
            "filter_overlong_prompts": True,
        },
        "algorithm": {
            "adv_estimator": "rloo",
            "use_kl_in_reward": True,
            "kl_penalty": "kl",
            "kl_ctrl": {"type": "fixed", "kl_coef": 1.0},
            "gamma": 1.0,
            "lam": 1.0,
        },
        "actor_rollout_ref": {
            "actor": {
                "ppo_mini_batch_size": batch,
                "ppo_epochs": 1,
                "use_dynamic_bsz": True,
                "use_kl_loss": False,
                "entropy_coeff": 0,
                "loss_agg_mode": "seq-mean-token-sum",
                "optim": {"lr": 1e-06},
            },
            "rollout": {
                "name": "vllm",
                "n": inputs.options.samples,
                "temperature": 1.0,
                "top_k": -1,
                "top_p": 1.0,
                "tensor_model_parallel_size": 1,
            },
        },
        "reward": {
            "custom_reward_function": {"path": "rewards.py", "name": "compute_score"},
            "reward_manager": {"source": "register", "name": "naive"},
        },
        "trainer": {
            "project_name": "bylaw",
            "experiment_name": inputs.program.digest.removeprefix("sha256:")[:12],
            "logger": ["console"],
            "nnodes": 1,
            "n_gpus_per_node": 1,
            "total_epochs": 3,
            "val_before_train": False,
            "test_freq": -1,
            "save_freq": 20,
        },
    }


def yaml_text(data: dict[str, Any], inputs: Inputs) -> bytes:
    """YAML with a comment that says where it is from."""
    import yaml

    where = origin(inputs)
    head = f"# {where['policy']} {where['version']}\n# {where['digest']}\n# bylaw {where['bylaw']}\n"
    body: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=False, default_flow_style=False, width=120)
    return (head.encode("ascii", "backslashreplace").replace(b"\r", b"")) + body.encode("ascii")
