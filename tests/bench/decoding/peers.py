"""genlm-control on the same models and rules, in the same process.

Its potentials get all that the hand-written machine knows: the hard rules as a Boolean condition whose `prefix` says
whether a legal end is still in reach in the tokens that are left (so that no particle can die), and the soft terms with
what a beginning has earned so far. Configurations (`CONFIGURATIONS`), all at resampling thresholds of their own:

awrs, critic       AWRS of p0 under the condition; soft terms as critic, so that each step is reweighted
awrs, at the end   the same with threshold 0: the critic weighs finished responses only
awrs, soft inside  AWRS of p0·soft under the condition: soft terms in the token proposal
direct             DirectTokenSampler of p0·soft·condition over the whole vocabulary: the best proposal of one token
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from decoding.measure import Run
from decoding.models import Counter, FloatArray, Tokens
from decoding.rules import TokenMachine
from genlm.control import AWRS, SMC
from genlm.control.constant import EOS
from genlm.control.potential import Potential
from genlm.control.sampler.token import DirectTokenSampler


class _Walk:
    """Contexts (lists of tokens) to prefix numbers and machine states, remembered."""

    def __init__(self, machine: TokenMachine) -> None:
        self.machine, self.model = machine, machine.model
        self.number = {piece: index for index, piece in enumerate(self.model.pieces)}
        self.known: dict[tuple[bytes, ...], tuple[int, int, float]] = {(): (0, 0, 0.0)}

    def at(self, context: tuple[bytes, ...]) -> tuple[int, int, float]:
        """(prefix number, machine state or −1, nats paid so far)."""
        found = self.known.get(context)
        if found is None:
            node, state, paid = self.at(context[:-1])
            token = self.number[context[-1]]
            following = int(self.machine.next[state, token]) if state >= 0 else -1
            paid = paid + self.machine.paid[state, token] if following >= 0 else -np.inf
            found = self.known[context] = (self.model.child(node, token), following, float(paid))
        return found


class _Base(Potential):
    """p0; at the cap the response simply ends. Counts each prefix whose row is asked for."""

    def __init__(self, walk: _Walk) -> None:
        super().__init__(list(walk.model.pieces))
        self.walk, self.counter, self.run = walk, Counter(), (0,)

    def _row(self, context: list[bytes]) -> FloatArray:
        node = self.walk.at(tuple(context))[0]
        if len(context) == self.walk.model.cap:
            return np.append(np.full(len(self.vocab), -np.inf), 0.0)
        self.counter.add(self.run, node)
        return self.walk.model.row(node)

    async def prefix(self, context: list[bytes]) -> float:
        return sum(float(self._row(context[:k])[self.lookup[token]]) for k, token in enumerate(context))

    async def complete(self, context: list[bytes]) -> float:
        return await self.prefix(context) + float(self._row(context)[-1])

    async def logw_next(self, context: list[bytes]):  # type: ignore[no-untyped-def]
        return self.make_lazy_weights(self._row(context))


class _Condition(Potential):
    """0 where the hard rules hold (`complete`) or can still be met in the tokens left (`prefix`), else −inf."""

    def __init__(self, walk: _Walk) -> None:
        super().__init__(list(walk.model.pieces))
        self.walk = walk
        self.rows: dict[tuple[int, int], FloatArray] = {}

    async def prefix(self, context: list[bytes]) -> float:
        state = self.walk.at(tuple(context))[1]
        left = self.walk.model.cap - len(context)
        return 0.0 if state >= 0 and self.walk.machine.nearest[state] <= left else -np.inf

    async def complete(self, context: list[bytes]) -> float:
        state = self.walk.at(tuple(context))[1]
        return 0.0 if state >= 0 and np.isfinite(self.walk.machine.final[state]) else -np.inf

    async def logw_next(self, context: list[bytes]):  # type: ignore[no-untyped-def]
        state, length = self.walk.at(tuple(context))[1], len(context)
        if (state, length) not in self.rows:
            allowed = self.walk.machine.allowed(state, length)
            self.rows[state, length] = np.where(allowed, 0.0, -np.inf)
        return self.make_lazy_weights(self.rows[state, length])


class _Soft(Potential):
    """What the soft terms pay a beginning; a finished text gets no more in these policies."""

    def __init__(self, walk: _Walk) -> None:
        super().__init__(list(walk.model.pieces))
        self.walk = walk

    async def prefix(self, context: list[bytes]) -> float:
        paid = self.walk.at(tuple(context))[2]
        return paid if np.isfinite(paid) else 0.0

    async def complete(self, context: list[bytes]) -> float:
        return await self.prefix(context)

    async def logw_next(self, context: list[bytes]):  # type: ignore[no-untyped-def]
        state = self.walk.at(tuple(context))[1]
        paid = np.where(self.walk.machine.next[state] >= 0, self.walk.machine.paid[state], 0.0)
        return self.make_lazy_weights(np.append(paid, 0.0))


@dataclass(frozen=True)
class Configuration:
    """`sampler`: how tokens are proposed; `threshold` of resampling as a share of the particles."""

    name: str
    sampler: str
    critic: bool
    threshold: float
    resampling: str = "systematic"


CONFIGURATIONS = (
    Configuration("awrs, critic, 0.5", "awrs", True, 0.5),
    Configuration("awrs, critic, 0.9", "awrs", True, 0.9),
    Configuration("awrs, at the end", "awrs", True, 0.0),
    Configuration("awrs, soft inside, 0.5", "awrs-soft", False, 0.5),
    Configuration("direct, 0.5", "direct", False, 0.5),
    Configuration("direct, 0", "direct", False, 0.0),
)


class Genlm:
    """One configuration on one model and policy."""

    def __init__(self, machine: TokenMachine, configuration: Configuration) -> None:
        self.machine, self.configuration = machine, configuration
        walk = self.walk = _Walk(machine)
        self.base = _Base(walk)
        condition, soft = _Condition(walk), _Soft(walk)
        if configuration.sampler == "awrs":
            sampler = AWRS(self.base, condition, autobatch=False)
        elif configuration.sampler == "awrs-soft":
            sampler = AWRS(self.base * soft, condition, autobatch=False)
        else:
            sampler = DirectTokenSampler(self.base * soft * condition, autobatch=False)
        self.sampler = SMC(sampler, critic=soft if configuration.critic else None, autobatch=False)

    def runs(self, particles: int, count: int, seed: int) -> list[Run]:
        """`count` independent runs, one response each."""
        import torch

        np.random.seed(seed)
        torch.manual_seed(seed)
        if isinstance(self.sampler.unit_sampler, AWRS):
            self.sampler.unit_sampler.rng = np.random.default_rng(seed)
        return asyncio.run(self._runs(particles, count))

    async def _runs(self, particles: int, count: int) -> list[Run]:
        found = []
        for run in range(count):
            self.base.run, self.base.counter = (run,), Counter()
            sequences = await self.sampler(
                n_particles=particles,
                ess_threshold=self.configuration.threshold,
                max_tokens=self.machine.model.cap + 1,
                resampling_method=self.configuration.resampling,
            )
            found.append(self._read(sequences))
        return found

    def _read(self, sequences) -> Run:  # type: ignore[no-untyped-def]
        shares: dict[Tokens, float] = {}
        number = self.walk.number
        for context, share in zip(sequences.contexts, sequences.normalized_weights, strict=True):
            if share > 0:
                assert context[-1] is EOS
                tokens = tuple(number[piece] for piece in context[:-1])
                shares[tokens] = shares.get(tokens, 0.0) + float(share)
        return Run(
            tuple(shares), np.array(list(shares.values())), float(sequences.log_ml), float(sequences.ess),
            self.base.counter.passes(self.base.run),
        )  # fmt: skip
