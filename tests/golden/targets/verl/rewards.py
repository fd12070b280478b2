"""Reward functions of a policy; written by `bylaw compile`, not by hand.

    rewards.functions()     one function for each sentence of a rule: (prompts, completions, **columns) -> list
    rewards.weights()       their weights in nats, in the same order
    rewards.rule_NAME       one of them, with _ for what a Python name cannot hold
    rewards.compute_score   all of them together, as verl asks
    rewards.reward_func     all of them together, as OpenRLHF asks

None stands where a rule does not apply. The policy itself is data, in `program.json` beside this file.
"""

from pathlib import Path

from bylaw.compiler.targets.reward_functions import RuleRewards

BYLAW = '0.0.0'
POLICY = 'mill.desk'
POLICY_VERSION = "1.0 {{ 7*7 }} # : - [x] `id` $(id) '''"
POLICY_DIGEST = 'sha256:1f593596f58349b4873e7f6798629d9381e3ff05fb82597e25c1298bfdb4fc2e'
PROGRAM_SHA256 = '798dd0a516bf9e36ad27643373935d80d8c0c7b0e30e17d2ca946eb1b0068a72'
HARD_PENALTY = 12.0  # nats for a broken hard rule
UNSCORED = 'error'  # what a rule that cannot be told gives: "error", "broken" or "none"

REWARDS = RuleRewards.load(Path(__file__).resolve().parent, POLICY_DIGEST, PROGRAM_SHA256, HARD_PENALTY, UNSCORED)
NAMES = REWARDS.names
compute_score = REWARDS.compute_score
reward_func = REWARDS.reward_func


def functions():
    """One reward function for each sentence of a rule, in the order of NAMES."""
    return REWARDS.functions()


def weights():
    """What one unit of each function is worth in the law, in nats, in the order of NAMES."""
    return list(REWARDS.weights.values())


def __getattr__(name):
    found = [each for each in NAMES if "rule_" + "".join(c if c.isalnum() else "_" for c in each) == name]
    if len(found) != 1:
        raise AttributeError(f"{len(found)} rules of this policy are called {name!r}; they are {NAMES}")
    return REWARDS.function(found[0])
