"""A Python module of reward functions, one for each sentence of a rule, for TRL, verl and OpenRLHF.

Files: `rewards.py` (the same code for every policy, with digests), `program.json` (the compiled policy, data), and
`README.md`. The module needs bylaw where it is imported; rules are decided by its reference evaluator.
"""

from __future__ import annotations

from bylaw.compiler.program import to_json
from bylaw.compiler.targets._files import origin, rendered, sha256
from bylaw.compiler.targets._law import concepts_read, hard_penalty, weighed
from bylaw.compiler.targets.interface import Data, Inputs, LeftOut, Made, TargetError
from bylaw.compiler.targets.reward_functions import PROGRAM, RuleRewards

DATA: Data = "none"
OPTIONS: frozenset[str] = frozenset({"calibration", "hard_penalty", "unscored"})


def build(inputs: Inputs) -> Made:
    """The module. Raises TargetError where no rule can be one of its functions."""
    made, rewards = module(inputs)
    listed = [
        {"name": name, "weight": repr(each.weight), "kind": each.term.kind} for name, each in rewards.terms.items()
    ]
    readme = rendered("rewards_readme.md.j2", **origin(inputs), rules=listed, left_out=made.left_out)
    return Made({**made.files, "README.md": readme}, made.left_out, made.notes)


def module(inputs: Inputs) -> tuple[Made, RuleRewards]:
    """`rewards.py` and its program, for every target that needs rewards, with the functions that it has."""
    program = inputs.program
    penalty = hard_penalty(program, inputs.options.hard_penalty)
    left_out = _left_out(inputs, penalty)
    gone = {each.what for each in left_out}
    if all(f"`{term.id}`" in gone for term in program.terms):
        told = "; ".join(each.words for each in left_out) or "it has no rules"
        raise TargetError(f"no rule of this policy can be a reward function: {told}")
    data = (to_json(program) + "\n").encode("utf-8", "backslashreplace")
    code = rendered(
        "rewards.py.j2",
        policy=ascii(program.policy),
        bylaw=ascii(inputs.bylaw),
        version=ascii(program.version),
        digest=ascii(program.digest),
        program=ascii(sha256(data)),
        penalty=repr(penalty),
        unscored=repr(inputs.options.unscored),
    )
    notes = []
    if any(term.kind == "hard" for term in program.terms):
        notes.append(
            f"a broken hard rule counts as -{penalty:g} nats: training needs a finite number, the law has none"
        )
    return Made({"rewards.py": code, PROGRAM: data}, left_out, tuple(notes)), RuleRewards(
        program, penalty, inputs.options.unscored
    )


def _left_out(inputs: Inputs, penalty: float) -> tuple[LeftOut, ...]:
    """Rules that hang on what somebody has to score, and limits without a multiplier."""
    _, without = weighed(inputs.program, penalty)
    reasons = {each.what: each for each in without}
    for term in inputs.program.terms:
        concepts = concepts_read(term)
        if concepts:
            names = " and ".join(f"`{name}`" for name in concepts)
            reason = f"it hangs on {names}, which a reward module has nobody to score"
            reasons[f"`{term.id}`"] = LeftOut(f"`{term.id}`", reason)
    return tuple(reasons[f"`{term.id}`"] for term in inputs.program.terms if f"`{term.id}`" in reasons)
