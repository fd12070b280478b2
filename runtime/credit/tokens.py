"""The reward of a response shared among its tokens, in nats: their sum is the reward of the whole, Σ w r − Σ μ f.

Two ways to share it. `prefixes`: token t gets what it changed, with Φ(h) a function of the beginning h alone (the best
that can still become of it, see `outlook`; the last token settles the rest):

    r_t = Φ(h_t) − Φ(h_{t−1}),   Φ(h_T) = R(y)

`spans`: a broken rule is paid for by the tokens of the text that breaks it, in proportion to their bytes there.

Only `prefixes` may be turned into rewards to go: E[r_s ∇ log π(y_t|h_t)] is 0 for s < t where r_s hangs on h_s alone,
so that the policy gradient with Σ_{s ≥ t} r_s has the mean of the one with R. Spans are known when the text is finished
(how many words too many there are, whether a match goes on), so that mean would be another: they are for people.

`prefixes` is what Ng, Harada and Russell (1999) call potential-based shaping, of the reward at the end by the potential
Φ; `shaped` adds any other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.evaluate import NEGATIVE_INFINITY, TermScore, Verdict, evaluate_term
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.credit.errors import CreditError
from bylaw.runtime.credit.outlook import FloatArray, Outlook, Outlooks, sign_of
from bylaw.runtime.credit.spelling import Spelling, spell
from bylaw.spec.expression import Extent
from bylaw.spec.trace import Trace

Placement: TypeAlias = Literal["prefixes", "spans"]
NEAR = 1e-12
"""Nats within which two values of a rule are one."""


@dataclass(frozen=True, slots=True, eq=False)
class TermCredit:
    """What one rule says of a response of T tokens.

    `score`: of the whole text by the reference evaluator; None where it is no well-formed text. `paid` (nats) is its
    part of the reward under the law: an undecided hard rule is broken, another one pays nothing. `rewards` [T]: `paid`
    on its tokens, −inf on one token for a broken hard rule. `tokens`: those that show the breach, none where the rule
    is kept. `settled`: the first token after which no continuation keeps the rule any more, None where the rule is kept
    or there is no automaton to say so.
    """

    term: str
    score: TermScore | None
    paid: float
    rewards: FloatArray
    tokens: tuple[int, ...]
    settled: int | None


@dataclass(frozen=True, slots=True, eq=False)
class TokenCredit:
    """`rewards` [T] nats sum to `reward`: that of the law, −inf for what breaks a hard rule, or −`hard_penalty`.

    `terms`: each rule by itself. `forbidden`: whether a hard rule is broken, or the tokens spell no text.
    """

    spelling: Spelling
    terms: tuple[TermCredit, ...]
    rewards: FloatArray
    reward: float
    forbidden: bool


def token_rewards(
    program: RewardProgram | Sequence[RewardTerm],
    before: Trace,
    token_bytes: Sequence[bytes | None],
    *,
    hard_penalty: float | None = None,
    stops: Sequence[str] = (),
    drops_leading_space: bool = False,
    evaluate_prefixes: bool = True,
    outlooks: Outlooks | None = None,
) -> FloatArray:
    """[T] nats, one for each token of a response: what a training loop with credit for tokens calls for every row.

    `program`: terms as a prompt's plan weighs them (`PromptPlan.weighed`), or a whole program. `before`: the
    conversation that is answered. `token_bytes` [T]: what each token adds to the text; the end token, where the
    response has one, comes last with None. `stops` and `drops_leading_space` are those of the `Vocabulary`.
    `hard_penalty`: as in the settings of the objectives, a response that breaks a hard rule has the reward
    −`hard_penalty` and nothing else; the token that breaks it gets that, less what the tokens before it got. None:
    −inf on that token. Keep one `Outlooks` for all calls: it holds the automata. `evaluate_prefixes`: rules without an
    automaton are evaluated on every prefix (T evaluations a rule), otherwise they are paid for on the last token.

    How it goes on. Pad the rows with 0 to [B, T], the columns of `Batch.log_probs`, and

    * REINFORCE, RLOO, GRPO: `advantages.token_advantages` makes `Batch.advantage` [B, T] (rewards to go, the KL's share
      of each token inside, less a baseline of the row), and `advantages.token_loss` takes it: a surrogate for each
      token, summed over a row, meaned over rows. Its expected gradient is that of `policy_gradient.sequence_loss`.
    * PPO: `each = ppo.token_rewards(batch, zeros [B], beta) + rewards`, then `ppo.generalised_advantages(each, ...)`.

    Raises CreditError for a limit that cannot be decided, for tokens without bytes before the last, and for a penalty
    that is no number of nats from 0.
    """
    found = credit(
        program, before, token_bytes, placement="prefixes", hard_penalty=hard_penalty, stops=stops,
        drops_leading_space=drops_leading_space, evaluate_prefixes=evaluate_prefixes, outlooks=outlooks,
    )  # fmt: skip
    return found.rewards


def credit(
    program: RewardProgram | Sequence[RewardTerm],
    before: Trace,
    token_bytes: Sequence[bytes | None],
    *,
    placement: Placement = "prefixes",
    hard_penalty: float | None = None,
    stops: Sequence[str] = (),
    drops_leading_space: bool = False,
    evaluate_prefixes: bool = True,
    outlooks: Outlooks | None = None,
    allow_undecided: bool = False,
) -> TokenCredit:
    """The same with each rule apart, and shared in either way. Arguments and errors as in `token_rewards`.

    `allow_undecided`: a limit that cannot be decided pays nothing; its score says so. For people, not for training.
    """
    if hard_penalty is not None and not 0 <= hard_penalty < inf:
        raise CreditError(f"`hard_penalty` is {hard_penalty:g}; it must be a number of nats from 0")
    terms = program.terms if isinstance(program, RewardProgram) else tuple(program)
    spelling = spell(token_bytes, stops, drops_leading_space)
    each = _Crediting(spelling, before, placement, evaluate_prefixes, outlooks or Outlooks(), allow_undecided)
    outlook = [each.outlook(term) for term in terms]
    found = tuple(map(each.of, terms, outlook))
    is_hard = [term.kind == "hard" for term in terms]
    broken = [one for one in found if one.paid == -inf]
    if spelling.text is not None and (not broken or hard_penalty is None):
        reward = fsum(one.paid for one in found)
        rewards = each.total([one.rewards for one in found])
        return TokenCredit(spelling, found, rewards if broken else _exact(rewards, reward), reward, bool(broken))
    reward = NEGATIVE_INFINITY if hard_penalty is None else -hard_penalty
    if placement == "spans":
        if not broken:
            return TokenCredit(spelling, found, each.on(each.malformed, reward), reward, True)
        rewards = each.total([each.spread(one.tokens, reward / len(broken)) for one in broken])
        return TokenCredit(spelling, found, _exact(rewards, reward), reward, True)
    # where it is decided may hang on the beginning alone, also for what turns out to be no text
    hopeless = np.isneginf([one.ahead[1:] for one, hard in zip(outlook, is_hard, strict=True) if hard])
    at = min([each.malformed, *(int(row.argmax()) for row in hopeless if row.any())])
    ahead = each.total([one.values for one, hard in zip(outlook, is_hard, strict=True) if not hard])
    rewards = each.on(at, reward)
    rewards[:at] = np.diff(np.append(0.0, ahead[1 : at + 1]))
    rewards[at] -= fsum(rewards[:at])
    return TokenCredit(spelling, found, rewards, reward, True)


def _exact(rewards: FloatArray, reward: float) -> FloatArray:
    """The last token makes up for what rounding lost."""
    rewards[-1] += reward - fsum(rewards)
    return rewards


@dataclass(frozen=True, slots=True)
class _Crediting:
    """One response, rule by rule."""

    spelling: Spelling
    before: Trace
    placement: Placement
    evaluate_prefixes: bool
    outlooks: Outlooks
    allow_undecided: bool

    @property
    def last(self) -> int:
        return len(self.spelling.ranges) - 1

    @property
    def malformed(self) -> int:
        """The first token after which the bytes begin no text any more; the last where a character is not finished."""
        after = self.spelling.prefixes[1:]
        return next((place for place, prefix in enumerate(after) if prefix.text is None), self.last)

    def outlook(self, term: RewardTerm) -> Outlook:
        """What can still become of it, before each token."""
        return self.outlooks.after(term, self.before, self.spelling.prefixes, self.evaluate_prefixes)

    def of(self, term: RewardTerm, outlook: Outlook) -> TermCredit:
        """The credit of one rule by itself."""
        if self.spelling.text is None:
            return TermCredit(term.id, None, 0.0, self.total([]), (), None)
        score = evaluate_term(term, self.before.answered(self.spelling.text))
        paid = _paid(term, score, self.allow_undecided)
        is_broken = score.verdict is Verdict.VIOLATED
        settled = self._settled(term, score, outlook) if is_broken and outlook.is_best else None
        tokens = self._shown(score, settled) if is_broken else (self.last,) if paid == -inf else ()
        if paid == -inf:
            in_span = tokens[-1] if self.placement == "spans" else self.last
            rewards = self.on(in_span if settled is None else settled, paid)
        elif self.placement == "spans" and is_broken:
            rewards = self._spans(score, tokens, paid)
        elif term.kind == "hard":
            rewards = self.total([])
        else:
            rewards = _exact(np.append(np.diff(np.append(0.0, outlook.values[1:])), 0.0), paid)
        return TermCredit(term.id, score, paid, rewards, tokens, settled)

    def total(self, rows: Sequence[FloatArray]) -> FloatArray:
        """[T] the sum of rows [T]; 0 for no rows."""
        found = np.zeros(self.last + 1)
        for row in rows:
            found += row
        return found

    def on(self, place: int, reward: float) -> FloatArray:
        """[T] `reward` on one token."""
        found = self.total([])
        found[place] = reward
        return found

    def _settled(self, term: RewardTerm, score: TermScore, outlook: Outlook) -> int:
        """The first token after which nothing better could come of it than this."""
        assert score.value is not None
        worst = -inf
        if term.kind != "hard":
            over = (term.bound or 0.0) if term.among is not None else 0.0
            worst = sign_of(term) * (over - score.value if term.kind == "budget" else score.value)
        reached = np.flatnonzero(outlook.ahead[1:] <= worst + NEAR)
        return int(reached[0]) if len(reached) else self.last

    def _is_whole(self, extents: Sequence[Extent]) -> bool:
        return tuple(extents) in ((), (Extent(0, len(self.spelling.text or "")),))

    def _shown(self, score: TermScore, settled: int | None) -> tuple[int, ...]:
        """The tokens of the places that break a rule. The whole text is no place: what breaks it is the token that
        settled it, and the last one where something is missing."""
        if self._is_whole(score.evidence):
            return (self.last if settled is None else settled,)
        found = {place for extent in score.evidence for place in self.spelling.overlaps(extent)}
        return tuple(sorted(found)) or (self.last,)

    def _spans(self, score: TermScore, tokens: tuple[int, ...], paid: float) -> FloatArray:
        """[T] `paid`, the same for each place, within it by the bytes of the tokens."""
        if self._is_whole(score.evidence):
            return self.spread(tokens, paid)
        rewards = np.zeros(self.last + 1)
        for extent in score.evidence:
            counts = self.spelling.overlaps(extent) or {self.last: 1}
            whole = sum(counts.values())
            for place, count in counts.items():
                rewards[place] += paid * count / (whole * len(score.evidence))
        return _exact_on(rewards, tokens, paid)

    def spread(self, tokens: tuple[int, ...], paid: float) -> FloatArray:
        """[T] `paid` in equal parts on these tokens."""
        rewards = np.zeros(self.last + 1)
        rewards[list(tokens)] = paid / len(tokens)
        return _exact_on(rewards, tokens, paid)


def _exact_on(rewards: FloatArray, tokens: tuple[int, ...], paid: float) -> FloatArray:
    rewards[tokens[-1]] += paid - fsum(rewards)
    return rewards


def _paid(term: RewardTerm, score: TermScore, allow_undecided: bool) -> float:
    """The rule's part of the exponent, as the decoder and the trainer have it (`enforcement.score_traces`)."""
    if score.contribution is not None:
        return score.contribution
    if score.verdict is not Verdict.UNSCORED:
        return 0.0  # a weight or multiplier that is not known yet
    if term.kind == "budget" and not allow_undecided:
        raise CreditError(f"`{term.id}` cannot be scored for this response: {score.reason}")
    return NEGATIVE_INFINITY if term.kind == "hard" else 0.0


# ---------------------------------------------------------------------------------------------------- what is done next
def rewards_to_go(rewards: NDArray[np.floating], discount: float = 1.0) -> FloatArray:
    """Σ_{s ≥ t} discount^{s−t} r_s along the last axis, any shape, nats.

    Raises CreditError for −inf: a policy gradient needs a `hard_penalty`.
    """
    if not np.isfinite(rewards).all():
        raise CreditError("a reward is no finite number of nats; give `hard_penalty` for responses that are forbidden")
    found = np.array(rewards, dtype=np.float64)
    for place in range(found.shape[-1] - 2, -1, -1):
        found[..., place] += discount * found[..., place + 1]
    return found


def shaped(rewards: NDArray[np.floating], potentials: NDArray[np.floating], discount: float = 1.0) -> FloatArray:
    """[T] r_t + discount · Φ(h_t) − Φ(h_{t−1}), nats, with `potentials` [T] Φ before each token and 0 after the last.

    Ng, Harada and Russell 1999: for any Φ that is a function of the prefix the returns of all responses change by the
    same −Φ(h_0), so that the optimum, p* included (which the constant leaves alone), stays what it was. Raises
    CreditError for shapes that differ.
    """
    if np.shape(rewards) != np.shape(potentials):
        raise CreditError(f"{np.shape(rewards)} rewards and {np.shape(potentials)} potentials do not go together")
    following = np.append(np.asarray(potentials, dtype=np.float64)[1:], 0.0)
    found: FloatArray = np.asarray(rewards, dtype=np.float64) + discount * following - potentials
    return found
