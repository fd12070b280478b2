"""A bundle that trains under the policy with OpenRLHF: options, agent with the rewards, prompts, command.

Files: `options.yaml` (the options of `openrlhf.cli.train_ppo_ray`, for reading), `run.sh` (the same as a command),
`agent.py`, `rewards.py` and `program.json`, `prompts.jsonl`, `README.md`. Options are those of OpenRLHF 0.11.2.
"""

from __future__ import annotations

from typing import Any

from bylaw.compiler.targets._files import json_lines, origin, rendered
from bylaw.compiler.targets._messages import message_data
from bylaw.compiler.targets._prompts import Prompt, prompts
from bylaw.compiler.targets.interface import Data, Inputs, LeftOut, Made, TargetError
from bylaw.compiler.targets.rewards import module
from bylaw.compiler.targets.verl import yaml_text

DATA: Data = "prompts"
OPTIONS: frozenset[str] = frozenset({"calibration", "hard_penalty", "max_tokens", "samples", "unscored"})
VERSION = "0.11.2"
"""Of OpenRLHF, whose options these are."""
_PICTURE = "<image>"
_BATCH = 64
_WIDEST = 1_000_000
"""Nats to which OpenRLHF clips rewards here: its own default of 10 would make a broken hard rule cost less than it
does."""


def build(inputs: Inputs) -> Made:
    """The bundle: RLOO with the KL divergence inside the reward at coefficient 1. Raises TargetError for a policy
    without reward functions, and for data without prompts."""
    made, rewards = module(inputs)
    found, lost = prompts(inputs.traces, tuple(each.term for each in rewards.terms.values()))
    plain = [each for each in found if not any(_PICTURE in message.content for message in each.trace.messages)]
    left_out = [*made.left_out, *lost]
    if len(plain) < len(found):
        reason = f"OpenRLHF takes `{_PICTURE}` in a message for a picture, so prompts that say it are left out"
        number = len(found) - len(plain)
        left_out.append(LeftOut("1 prompt" if number == 1 else f"{number} prompts", reason, number))
    if not plain:
        raise TargetError("there is no prompt to train on: " + "; ".join(each.words for each in left_out))
    options = _options(inputs, min(_BATCH, len(plain)))
    values = {**origin(inputs), "engine": VERSION, "samples": inputs.options.samples}
    files = {
        "prompts.jsonl": json_lines(_row(each, inputs) for each in plain),
        "options.yaml": yaml_text(options, inputs),
        "run.sh": rendered("openrlhf_run.sh.j2", **values, options=[_written(*item) for item in options.items()]),
        "agent.py": rendered("openrlhf_agent.py.j2"),
        "README.md": rendered(
            "openrlhf_readme.md.j2", **values, prompts=len(plain), left_out=left_out, notes=made.notes
        ),
    }
    return Made({**made.files, **files}, tuple(left_out), made.notes)


def _row(prompt: Prompt, inputs: Inputs) -> dict[str, Any]:
    return {
        "input": message_data(prompt.trace.messages),
        "label": prompt.conversation,
        "datasource": inputs.program.policy,
        "id": prompt.trace.id,
        "rules_digest": inputs.program.digest,
    }


def _options(inputs: Inputs, batch: int) -> dict[str, Any]:
    """The options but for the model, paths and machines, which `run.sh` is given. True: a switch without a value."""
    samples = inputs.options.samples
    return {
        "data.input_key": "input",
        "data.label_key": "label",
        "data.apply_chat_template": True,
        "data.max_len": 2048 + inputs.options.max_tokens,
        "rollout.max_new_tokens": inputs.options.max_tokens,
        "rollout.batch_size": batch,
        "rollout.n_samples_per_prompt": samples,
        "rollout.temperature": 1.0,
        "rollout.top_p": 1.0,
        "train.batch_size": batch * samples,
        "train.micro_batch_size": 1,
        "train.max_epochs": 1,
        "train.num_episodes": 3,
        "train.colocate_all": True,
        "algo.advantage.estimator": "rloo",
        "algo.advantage.no_std_norm": True,
        "algo.advantage.gamma": 1.0,
        "algo.kl.init_coef": 1.0,
        "algo.kl.estimator": "k1",
        "reward.clip_range": [-_WIDEST, _WIDEST],
        "actor.adam.lr": 1e-06,
        "ds.zero_stage": 2,
        "vllm.tensor_parallel_size": 1,
        "vllm.enable_sleep": True,
        "ds.enable_sleep": True,
    }


def _written(name: str, value: Any) -> str:
    if value is True:
        return f"--{name}"
    given = value if isinstance(value, list) else [value]
    return f"--{name} {' '.join(_plain(each) for each in given)}"


def _plain(value: Any) -> str:
    """A number without an exponent, which argparse would take for an option where it is below 0."""
    return f"{value:.10f}".rstrip("0") + "0" if isinstance(value, float) else str(value)
