"""How OpenRLHF gets answers and their rewards; written by `bylaw compile`, not by hand.

Rewards are given to exactly the tokens that were sampled, without the special ones at their end. What goes wrong with a
reward ends the run: OpenRLHF itself would only log it.
"""

import asyncio
import importlib.util
import math
from pathlib import Path

from openrlhf.utils.agent import SingleTurnAgentExecutor

_spec = importlib.util.spec_from_file_location("bylaw_rewards", Path(__file__).resolve().parent / "rewards.py")
_rewards = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_rewards)


class AgentExecutor(SingleTurnAgentExecutor):
    """One answer to each prompt; the label of a prompt is its conversation."""

    def __init__(self):
        super().__init__(None)

    async def execute(self, prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images=None):
        output = await super().execute(
            prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images=images
        )
        ((start, end),) = output["action_ranges"]
        answer = hf_tokenizer.decode(output["observation_tokens"][start:end], skip_special_tokens=True)
        reward, logs = await asyncio.to_thread(_rewards.REWARDS.scored, label, answer)
        if not math.isfinite(reward):
            raise ValueError(f"a reward is {reward}, which is no finite number")
        output.update(reward=reward, scores=reward, extra_logs=logs)
        return output
