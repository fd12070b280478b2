"""The policies of the comparison: in the language, and once more by hand.

The text in the language is compiled for our decoders. The hand-written machine reads characters one by one and is what
the truth and all peers use; `check_rules` compares the two, and the reference evaluator, on every text that is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

import numpy as np
from decoding.models import FloatArray, TableModel
from numpy.typing import NDArray

from bylaw.compiler.evaluate import evaluate_term
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

State = Hashable
TRACE = Trace(id="bench", messages=(Message(role="user", content="go on"),))


@dataclass(frozen=True)
class Rules:
    """`step(state, character)` gives (next state, or None where a hard rule is broken for good; nats); `final(state)`
    nats, −inf where a hard rule is broken by ending here. `pattern`: the hard part as a regular expression."""

    name: str
    policy: str
    start: State
    step: Callable[[State, str], tuple[State | None, float]]
    final: Callable[[State], float]
    pattern: str

    def compiled(self) -> RewardProgram:
        return compile_source(Source(f"{self.name}.bylaw", self.policy)).require()

    def read(self, state: State | None, text: str) -> tuple[State | None, float]:
        total = 0.0
        for character in text:
            if state is None:
                break
            state, paid = self.step(state, character)
            total += paid
        return state, total if state is not None else -math.inf

    def log_reward(self, text: str) -> float:
        state, paid = self.read(self.start, text)
        return -math.inf if state is None else paid + self.final(state)


def check_rules(rules: Rules, texts: Iterable[str]) -> int:
    """Compares the machine with the reference evaluator; returns the number of texts. Raises AssertionError."""
    program, count = rules.compiled(), 0
    for text in texts:
        told = sum(evaluate_term(term, TRACE.answered(text)).contribution or 0.0 for term in program.terms)
        mine = rules.log_reward(text)
        assert told == mine or math.isclose(told, mine, abs_tol=1e-9), (rules.name, text, told, mine)
        count += 1
    return count


@dataclass(eq=False)
class TokenMachine:
    """The rules over the tokens of a model, and what can still be reached in the tokens that are left.

    `next` [S, V]: state numbers, −1 forbidden. `paid` [S, V] nats. `final` [S] nats. `nearest` [S]: the fewest tokens
    to a legal end, so that `prefix` potentials and masks of all peers are exact and know the cap.
    """

    rules: Rules
    model: TableModel
    next: NDArray[np.int64] = field(init=False)
    paid: FloatArray = field(init=False)
    final: FloatArray = field(init=False)
    nearest: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        pieces = [piece.decode() for piece in self.model.pieces]
        number: dict[State, int] = {self.rules.start: 0}
        states = [self.rules.start]
        following: list[list[int]] = []
        paid: list[list[float]] = []
        for state in states:
            ways = [self.rules.read(state, piece) for piece in pieces]
            for way, _ in ways:
                if way is not None and way not in number:
                    number[way] = len(states)
                    states.append(way)
            following.append([-1 if way is None else number[way] for way, _ in ways])
            paid.append([reward for _, reward in ways])
        self.next, self.paid = np.array(following), np.array(paid)
        self.final = np.array([self.rules.final(state) for state in states])
        far = self.model.cap + 1
        self.nearest = np.where(np.isfinite(self.final), 0, far)
        for _ in range(self.model.cap):
            ahead = np.where(self.next >= 0, self.nearest[self.next], far).min(axis=1)
            self.nearest = np.minimum(self.nearest, ahead + 1)

    def allowed(self, state: int, length: int) -> NDArray[np.bool_]:
        """[V + 1]: what may follow `length` tokens in `state`, the end in the last place."""
        left = self.model.cap - length - 1
        following = self.next[state]
        tokens = (following >= 0) & (np.where(following >= 0, self.nearest[following], left + 1) <= left)
        return np.append(tokens, np.isfinite(self.final[state]))

    def log_z(self, *, hard_only: bool = False) -> float:
        """log Z, or log P0(H), by dynamic programming over (context, state, tokens left); Markov models only. Nats."""
        model, contexts = self.model, self.model.rows.shape[0]
        follow = np.array([[model.follow(c, t) for t in range(len(model.pieces))] for c in range(contexts)])
        law, stop = np.exp(model.rows[:, :-1]), np.exp(model.rows[:, -1])
        weight = np.where(self.next >= 0, 1.0 if hard_only else np.exp(self.paid), 0.0)
        ending = np.exp(self.final)
        value = np.repeat(ending[None, :], contexts, axis=0)
        for _ in range(model.cap):
            fresh = stop[:, None] * ending[None, :]
            for state in range(len(self.final)):
                terms = value[follow, self.next[state][None, :]] * weight[state][None, :]
                fresh[:, state] += (law * terms).sum(axis=1)
            value = fresh
        return float(np.log(value[model.start, 0]))


def rules_a() -> Rules:
    """Must not `ab`, must contain `c`, must end in `d`; −1 nat for each `b`, +1.5 for each `dd`."""
    policy = """policy bench.a version "1"
levels root > user
rule no_ab at root { must not contain "ab" }
rule a_c at root { must contain "c" }
rule last_d at root { must end with "d" }
rule few_b at user { prefer lower number of /b/ in response weight 1 }
rule dd at user { prefer higher number of /dd/ in response weight 1.5 }
"""

    def step(state: State, letter: str) -> tuple[State | None, float]:
        last, seen, open_d = state  # type: ignore[misc]
        if last == "a" and letter == "b":
            return None, -math.inf
        pays = letter == "d" and open_d
        reward = (-1.0 if letter == "b" else 0.0) + (1.5 if pays else 0.0)
        return (letter, seen or letter == "c", letter == "d" and not pays), reward

    def final(state: State) -> float:
        last, seen, _ = state  # type: ignore[misc]
        return 0.0 if last == "d" and seen else -math.inf

    # no ab: after any a there is no b; the automaton by hand, as all engines of masks read it
    word = "(a+[cd]|[bcd])"
    pattern = f"{word}*a*c({word}*a*)?d|{word}*a*cd"
    return Rules("a", policy, ("", False, False), step, final, pattern)


def rules_b() -> Rules:
    """Must not `abc` nor `dd`, must contain `cac`, must end in `c`; −0.3 nats for each `b`, +1 for each `ca`."""
    policy = """policy bench.b version "1"
levels root > user
rule no_abc at root { must not contain "abc" }
rule no_dd at root { must not contain "dd" }
rule a_word at root { must contain "cac" }
rule last_c at root { must end with "c" }
rule few_b at user { prefer lower number of /b/ in response weight 0.3 }
rule some_ca at user { prefer higher number of /ca/ in response weight 1 }
"""

    def step(state: State, letter: str) -> tuple[State | None, float]:
        tail, seen = state  # type: ignore[misc]
        text = tail + letter
        if text.endswith(("abc", "dd")):
            return None, -math.inf
        reward = (-0.3 if letter == "b" else 0.0) + (1.0 if text.endswith("ca") else 0.0)
        return (text[-2:], seen or text.endswith("cac")), reward

    def final(state: State) -> float:
        tail, seen = state  # type: ignore[misc]
        return 0.0 if seen and tail.endswith("c") else -math.inf

    return Rules("b", policy, ("", False), step, final, "")


def rules_c() -> Rules:
    """Must contain `ear`, must end in a full stop, never `no` nor two commas; −0.5 nats for each `e`, +0.7 for each
    `the`."""
    policy = """policy bench.c version "1"
levels root > user
rule a_word at root { must contain "ear" }
rule a_stop at root { must end with "." }
rule not_no at root { must not contain "no" }
rule one_comma at root { must have at most 1 commas }
rule few_e at user { prefer lower number of /e/ in response weight 0.2 }
rule some_the at user { prefer higher number of /the/ in response weight 0.7 }
"""

    def step(state: State, letter: str) -> tuple[State | None, float]:
        tail, seen, commas = state  # type: ignore[misc]
        text = tail + letter
        commas += letter == ","
        if text.endswith("no") or commas > 1:
            return None, -math.inf
        reward = (-0.2 if letter == "e" else 0.0) + (0.7 if text.endswith("the") else 0.0)
        seen = seen or text.endswith("ear")
        keep = next((text[-n:] for n in (3, 2, 1) if _begins(text[-n:], seen)), "." if letter == "." else "")
        return (keep, seen, commas), reward

    def final(state: State) -> float:
        tail, seen, _ = state  # type: ignore[misc]
        return 0.0 if seen and tail == "." else -math.inf

    return Rules("c", policy, ("", False, 0), step, final, "")


def _begins(tail: str, seen: bool) -> bool:
    words = ("the", "no") if seen else ("ear", "the", "no")
    return any(len(tail) < len(word) and word.startswith(tail) for word in words)
