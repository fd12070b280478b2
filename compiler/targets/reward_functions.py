"""Reward functions of a compiled policy, for trainers: what the module that the target `rewards` writes hands out.

The program is data beside that module; what a rule says is decided by the reference evaluator and by nothing else. A
function gives the feature of its rule, which its weight (nats) multiplies in the law:

    hard, soft   -1 where the rule is broken, 0 where it is kept
    graded       the quantity
    budget       1 or 0 for an event, the quantity of an average; less the bound where it is about a part of the answers

None stands where a rule does not apply. A rule that cannot be told is an error, unless something else was asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, get_args

from bylaw.compiler.evaluate import TermScore, evaluate, evaluate_term
from bylaw.compiler.program import ProgramError, RewardProgram, from_json
from bylaw.compiler.targets._law import WeighedTerm, concepts_read, weighed
from bylaw.compiler.targets._messages import NoConversation, conversation_of, facts_of, messages_of
from bylaw.compiler.targets.interface import Unscored
from bylaw.spec.trace import Message, Trace

RewardFunction: TypeAlias = Callable[..., list[float | None]]

PROGRAM = "program.json"


class RewardError(Exception):
    """A reward cannot be given; text fit for users.

    RewardError
    +-- ChangedRewards   the program beside the module is missing, or not the one that the module was written for
    +-- NotTold          what a rule says of an answer cannot be told
    """


class ChangedRewards(RewardError):
    """The program beside the module is missing, or not the one that the module was written for."""


class NotTold(RewardError):
    """What a rule says of an answer cannot be told."""


class RuleRewards:
    """The reward functions of one program.

    `penalty`: nats for a broken hard rule. `unscored`: what a rule that cannot be told gives: an error, what it gives
    where it is broken (a quantity, which nothing breaks, is an error still), or None as if it did not apply, which a
    model can learn to bring about.
    """

    def __init__(self, program: RewardProgram, penalty: float, unscored: Unscored = "error") -> None:
        if unscored not in get_args(Unscored):
            raise RewardError(f"what an untold rule gives is one of {', '.join(get_args(Unscored))}, not `{unscored}`")
        if not (math.isfinite(penalty) and penalty > 0.0):
            raise RewardError(f"the penalty of a hard rule has to be a finite number of nats above 0, not {penalty}")
        found, _ = weighed(program, penalty)
        kept = tuple(each for each in found if not concepts_read(each.term))
        if not kept:
            raise RewardError("no rule of this policy can be a reward function")
        self.program = program
        self.terms: Mapping[str, WeighedTerm] = {each.term.id: each for each in kept}
        self._together = RewardProgram(
            program.policy, program.version, program.levels, tuple(each.term for each in kept)
        )
        self._unscored = unscored

    @staticmethod
    def load(folder: str | Path, digest: str, sha256: str, penalty: float, unscored: Unscored = "error") -> RuleRewards:
        """The functions of the program in a folder. Raises ChangedRewards where it is not the one with this digest, in
        a file with this SHA-256 (multipliers are no part of a program's digest)."""
        path = Path(folder) / PROGRAM
        try:
            data = path.read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ChangedRewards(f"`{path}` cannot be read: {reason}; it belongs beside the reward module") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ChangedRewards(f"`{path}` was changed after the reward module was written: compile the policy again")
        try:
            program = from_json(data.decode("utf-8"))
        except (ProgramError, UnicodeDecodeError) as error:
            raise ChangedRewards(f"`{path}` cannot be used: {error}") from None
        if program.digest != digest:
            raise ChangedRewards(f"`{path}` is the program {program.digest}, and the module is for {digest}")
        return RuleRewards(program, penalty, unscored)

    # ------------------------------------------------------------------------------------------- rules one by one (TRL)
    @property
    def names(self) -> tuple[str, ...]:
        """The ids of the rules' sentences that have a function, in the order of the policy."""
        return tuple(self.terms)

    @property
    def weights(self) -> dict[str, float]:
        """Nats for each unit of what a function gives, by id."""
        return {name: each.weight for name, each in self.terms.items()}

    def function(self, name: str) -> RewardFunction:
        """The function of one sentence of a rule, as TRL calls it: `(prompts, completions, **columns)` -> [N].

        Prompts and completions are texts or lists of messages; of the columns, `facts` is read: an object for each row,
        or its JSON. Raises KeyError for a name that there is not; the function raises RewardError.
        """
        each = self.terms[name]

        def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
            given = columns.get("facts") or [None] * len(completions)
            rows = zip(prompts, completions, given, strict=True)
            return [self.feature(name, _answered(*row)) for row in rows]

        reward.__name__ = reward.__qualname__ = name
        reward.__doc__ = f"`{name}`: worth {each.weight:g} nats for each unit."
        return reward

    def functions(self) -> list[RewardFunction]:
        """One function for each sentence, in the order of `names`; `list(weights.values())` are their weights."""
        return [self.function(name) for name in self.names]

    def feature(self, name: str, trace: Trace) -> float | None:
        """What one function says of one conversation. Raises NotTold."""
        each = self.terms[name]
        return self._told(each, evaluate_term(each.term, trace))

    def _told(self, each: WeighedTerm, score: TermScore) -> float | None:
        why = each.untold(score)
        if why is None:
            return each.feature(score)
        if self._unscored == "broken" and each.term.holds is not None:
            return each.broken
        if self._unscored == "none":
            return None
        raise NotTold(
            f"`{each.term.id}` cannot be told of this answer: {why}; give the facts that it reads in the column "
            "`facts`, or compile with --unscored broken, which counts such answers against the rule"
        )

    # ------------------------------------------------------------------------------------------------- rules together
    def parts(self, trace: Trace) -> dict[str, float | None]:
        """Nats that each sentence adds to the exponent of the law, by id; None where it does not apply."""
        scores = evaluate(self._together, trace).terms
        told = {each.term.id: (each, self._told(each, s)) for each, s in zip(self.terms.values(), scores, strict=True)}
        return {name: None if value is None else each.weight * value + 0.0 for name, (each, value) in told.items()}

    def compute_score(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, float]:
        """The reward as verl asks for it: `score` in nats, and for each sentence its nats and whether it applied.

        `extra_info["conversation"]` is what comes before the answer. Raises RewardError.
        """
        conversation = (extra_info or {}).get("conversation")
        if conversation is None:
            raise RewardError("`extra_info` has no `conversation`: use the data that was written beside this module")
        parts = self.parts(_continued(conversation, solution_str))
        found = {"score": _sum(parts)}
        for name, nats in parts.items():
            found[f"rule/{name}"] = 0.0 if nats is None else nats
            found[f"applies/{name}"] = 0.0 if nats is None else 1.0
        return found

    def reward_func(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], **_: Any
    ) -> dict[str, Any]:
        """The rewards as OpenRLHF asks a function for them, [N] tensors; the label is the conversation.

        What stands behind the prompt in a query is the answer, so special tokens at its end count as part of it: the
        agent that the target `openrlhf` writes has the tokens and does without them. Raises RewardError.
        """
        import importlib

        torch: Any = importlib.import_module("torch")  # the trainer's own
        rewards, logs = [], []
        for query, prompt, label in zip(queries, prompts, labels, strict=True):
            if not query.startswith(prompt):
                raise RewardError("a query does not begin with its prompt, so that it cannot be told what was answered")
            nats, log = self.scored(label, query[len(prompt) :])
            rewards.append(nats)
            logs.append(log)
        extra = {name: torch.tensor([log[name] for log in logs]) for name in (logs[0] if logs else {})}
        return {"rewards": torch.tensor(rewards), "scores": torch.tensor(rewards), "extra_logs": extra}

    def scored(self, conversation: str, answer: str) -> tuple[float, dict[str, float]]:
        """(the reward of an answer in nats, nats by sentence with 0 where it does not apply). Raises RewardError."""
        parts = self.parts(_continued(conversation, answer))
        return _sum(parts), {f"rule/{name}": 0.0 if nats is None else nats for name, nats in parts.items()}


def _sum(parts: Mapping[str, float | None]) -> float:
    return sum(nats for nats in parts.values() if nats is not None) + 0.0


def _continued(conversation: Any, answer: str) -> Trace:
    try:
        return conversation_of(conversation).answered(answer)
    except NoConversation as error:
        raise RewardError(str(error)) from None


def _answered(prompt: Any, completion: Any, facts: Any) -> Trace:
    try:
        said = (Message("assistant", completion),) if isinstance(completion, str) else messages_of(completion)
        return Trace((*messages_of(prompt), *said), facts_of(facts))
    except NoConversation as error:
        raise RewardError(str(error)) from None
