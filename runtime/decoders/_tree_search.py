"""The expansion policy of a tree with a budget: which beginnings are worth an evaluation of the model.

A beginning h that is not evaluated yet is worth G(h) = log p0(h) + paid(h) + log V̂(h) + λ·H, H the entropy in nats of
the law that proposed it. From the root the child with the largest U = G + β·√(ln(N_root + 1) / (N + 1)) is followed, G
of an evaluated node being the best of the beginnings below it, N how often a child was followed. What is reached
by its bonus, another being worth more, is evaluated if its G is at least the mean of the beginnings known at its depth;
else it waits until all others are done. From what was evaluated the search dives, best child after best child, to a
whole response, as long as that may be better than the k-th best so far; the first time alone, then with as many dives
side by side as the budget may bring to an end. So there is something to return early. The search ends with its budget,
or when no beginning is worth as much as the k-th best response found: where the look-ahead never underestimates (the
exact V is such a one) these are the k best there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bylaw.runtime.decoders._trie import TAIL, Leaf, Tokens, Trie
from bylaw.runtime.decoders._trie_growth import finished
from bylaw.runtime.decoders.engine import batches, factors_of, halved
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import DecodeTask
from bylaw.runtime.models.interface import FloatArray, LanguageModel, OutOfMemory, Vocabulary
from bylaw.runtime.models.metering import OutOfBudget, Stop


@dataclass(frozen=True, slots=True)
class Found:
    """A response that the search came to."""

    leaf: Leaf
    log_p0: float


@dataclass(frozen=True, slots=True)
class Place:
    """A beginning to be evaluated: `token` after the node `parent`, or that node once more for its tail."""

    parent: int
    token: int
    tokens: Tokens
    again: bool = False


@dataclass(eq=False)
class Search:
    """The search of one prompt for its `best` responses with at most `budget` evaluations.

    `worth[n]` [K + 1]: G of each kept token of node n and of its tail; −inf where nothing is open below.
    """

    trie: Trie
    best: int
    budget: int
    exploration: float
    entropy: float
    worth: list[FloatArray] = field(default_factory=list)
    found: dict[Tokens, Found] = field(default_factory=dict)
    evaluations: int = 0
    longest: Tokens = ()
    certain: bool = False
    _log_p0: list[float] = field(default_factory=list)
    _visits: list[FloatArray] = field(default_factory=list)
    _depths: dict[int, tuple[float, int]] = field(default_factory=dict)
    _waiting: list[tuple[int, int, float]] = field(default_factory=list)
    _heads: list[int] = field(default_factory=list)
    _gate: bool = True

    @property
    def remarks(self) -> tuple[str, ...]:
        """What must be said of the search."""
        done = f"{self.evaluations} beginnings were evaluated of a budget of {self.budget}"
        if not self.certain:
            return (done,)
        return done, "no other response is better, if the look-ahead never underestimates"

    # -------------------------------------------------------------------------------------------------------- choosing
    def choose(self, task: DecodeTask, vocabulary: Vocabulary, cap: int, together: int) -> list[Place]:
        """The next beginnings to evaluate; none when the search is over."""
        if not self.trie.nodes:
            return [Place(-1, TAIL, ())] if self.evaluations < self.budget else []
        places: list[Place] = []
        pending = -np.inf  # the most that a chosen place is worth
        heads, self._heads = self._heads, []
        if len(self.found) < self.best:
            together = min(together, max(1, (self.budget - self.evaluations) // (2 * cap)) if self.found else 1)
        while len(places) < together:
            path = self._dive(heads)
            diving = path is not None
            path = path or self._reach(pending)
            if path is None:
                break
            number, slot = path[-1]
            worth = float(self.worth[number][slot])
            place, over = self._place(vocabulary, cap, number, slot)
            if not over and self.evaluations + len(places) >= self.budget:
                break
            promising = diving or worth >= self.worth[0].max()
            self._close(path)
            total, count = self._depths.get(self.trie.nodes[number].depth + 1, (0.0, 0))
            if over:
                self._respond(task, vocabulary, place)
            elif self._gate and not promising and count > 0 and worth < total / count - 1e-9:
                self._waiting.append((number, TAIL if place.again else place.token, worth))
            elif self._may_begin(task, vocabulary, place.tokens):
                places.append(place)
                pending = max(pending, worth)
        return places

    def _place(self, vocabulary: Vocabulary, cap: int, number: int, slot: int) -> tuple[Place, bool]:
        """(what stands there, whether that is a whole response)."""
        node, tokens = self.trie.nodes[number], self._tokens(number)
        if slot == len(node.tokens):
            return Place(node.parent, node.token, tokens, again=True), False
        token = int(node.tokens[slot])
        if token in vocabulary.end_ids[:1]:
            return Place(number, token, tokens), True
        whole = (*tokens, token)
        return Place(number, token, whole), len(whole) == cap or vocabulary.stopped(whole)

    def _dive(self, heads: list[int]) -> list[tuple[int, int]] | None:
        """The best child of a node that was evaluated last, if it is worth more than the k-th best response."""
        while heads:
            number = heads.pop(0)
            slot = int(np.argmax(self.worth[number]))
            if self.worth[number][slot] > self._least():
                return [(number, slot)]
        return None

    def _reach(self, pending: float) -> list[tuple[int, int]] | None:
        """The path to the open beginning that the policy comes to; None when there is none, or the search is over.

        `pending`: the most that a beginning about to be evaluated is worth, nats.
        """
        if self.worth[0].max() == -np.inf:
            if not self._waiting:
                # nothing is open: all that the tree can hold was seen, once nothing is pending
                self.certain = pending == -np.inf
                return None
            if pending > -np.inf:
                return None
            self._gate = False
            for number, token, was in self._waiting:
                node = self.trie.nodes[number]
                self.worth[number][len(node.tokens) if token == TAIL else node.slot(token)] = was
                self._pass_up(number)
            self._waiting.clear()
        if self._decided(pending):
            self.certain = True
            return None
        path, number = [], 0
        everything = self._visits[0].sum()
        while True:
            node, worth = self.trie.nodes[number], self.worth[number]
            rank = worth
            if self.exploration > 0:
                rank = worth + self.exploration * np.sqrt(np.log(everything + 1) / (self._visits[number] + 1))
            slot = int(np.argmax(rank))
            path.append((number, slot))
            self._visits[number][slot] += 1
            child = None if slot == len(node.tokens) else node.children.get(int(node.tokens[slot]))
            if child is None:
                return path
            number = child

    def _least(self) -> float:
        """The value of the k-th best response; −inf before there are so many."""
        values = sorted((each.log_p0 + each.leaf.reward for each in self.found.values()), reverse=True)
        return values[self.best - 1] if len(values) >= self.best else -np.inf

    def _decided(self, pending: float) -> bool:
        """Whether no open beginning is worth more than the k-th best response."""
        most = max([pending, float(self.worth[0].max()), *(worth for *_, worth in self._waiting)])
        least = self._least()
        return least > -np.inf and least >= most - 1e-12

    def _close(self, path: Sequence[tuple[int, int]]) -> None:
        number, slot = path[-1]
        self.worth[number][slot] = -np.inf
        self._pass_up(number)

    def _pass_up(self, number: int) -> None:
        """What is best below a node, told to all above it."""
        while number > 0:
            node = self.trie.nodes[number]
            self.worth[node.parent][self.trie.nodes[node.parent].slot(node.token)] = self.worth[number].max()
            number = node.parent

    def _tokens(self, number: int) -> Tokens:
        found: list[int] = []
        while number > 0:
            found.append(self.trie.nodes[number].token)
            number = self.trie.nodes[number].parent
        return tuple(reversed(found))

    def _may_begin(self, task: DecodeTask, vocabulary: Vocabulary, tokens: Tokens) -> bool:
        rule = task.law.prefix_rule
        return rule is None or rule(vocabulary.beginning(tokens))

    # -------------------------------------------------------------------------------------------------------- learning
    def _respond(self, task: DecodeTask, vocabulary: Vocabulary, place: Place) -> None:
        node = self.trie.nodes[place.parent]
        if place.token in vocabulary.end_ids[:1]:
            reward = node.paid + node.final
        else:
            reward = 0.0
            for factor in factors_of(task, vocabulary):
                state = factor.begin([task.prompt], [place.tokens])
                reward += float(state.paid[0] + state.final()[0])
        leaf = finished(vocabulary, task, place.tokens, reward)
        if leaf.reward > -np.inf:
            log_p0 = self._log_p0[place.parent] + float(node.law[node.slot(place.token)])
            self.found[place.tokens] = Found(leaf, log_p0)

    def learn(self, place: Place, paid: float, final: float, law: FloatArray, scores: FloatArray, kept: int) -> None:
        """A beginning was evaluated: rows `law` and `scores` [V]. What follows it is open now."""
        self.evaluations += 1
        known = self.trie.child(place.parent, place.token)
        before: tuple[int, ...] = () if known is None else tuple(self.trie.nodes[known].tokens.tolist())
        number = self.trie.put(place.parent, place.token, paid, final, law, scores, (), kept)
        node = self.trie.nodes[number]
        if known is None:
            above = self.trie.nodes[place.parent] if place.parent >= 0 else None
            step = 0.0 if above is None else float(above.law[above.slot(place.token)])
            self._log_p0.append(step + (self._log_p0[place.parent] if above is not None else 0.0))
            self.worth.append(np.full(1, -np.inf))
            self._visits.append(np.zeros(1))
        old = {token: at for at, token in enumerate(before)}
        worth, visits = np.empty(len(node.tokens) + 1), np.zeros(len(node.tokens) + 1)
        fresh = self._log_p0[number] + node.paid + np.append(node.scores, node.tail) + self.entropy * _entropy(law)
        for at, token in enumerate(node.tokens):
            was = old.get(int(token))
            worth[at] = fresh[at] if was is None else self.worth[number][was]
            visits[at] = 0.0 if was is None else self._visits[number][was]
            if was is None and fresh[at] > -np.inf:
                total, count = self._depths.get(node.depth + 1, (0.0, 0))
                self._depths[node.depth + 1] = (total + float(fresh[at]), count + 1)
        worth[-1] = fresh[-1]
        self.worth[number], self._visits[number] = worth, visits
        self._pass_up(number)
        self._heads.append(number)
        self.longest = max(self.longest, place.tokens, key=len)


def run_searches(
    model: LanguageModel,
    tasks: Sequence[DecodeTask],
    searches: Sequence[Search],
    cap: int,
    together: int,
    batch_size: int,
) -> Stop | None:
    """Run all searches side by side, `together` evaluations of each at a time; the limit that ended them, if any."""
    while True:
        wanted = {
            (task, at): place
            for task, search in enumerate(searches)
            for at, place in enumerate(search.choose(tasks[task], model.vocabulary, cap, together))
        }
        if not wanted:
            return None
        waiting = [list(part) for part in batches(tasks, list(wanted), batch_size)]
        while waiting:
            keys = waiting.pop(0)
            try:
                _evaluate(model, tasks, searches, [task for task, _ in keys], [wanted[key] for key in keys], cap)
            except OutOfMemory:
                if len(keys) == 1:
                    raise
                waiting = halved(keys, waiting)
            except OutOfBudget as error:
                return error.reason


def _evaluate(
    model: LanguageModel,
    tasks: Sequence[DecodeTask],
    searches: Sequence[Search],
    owners: Sequence[int],
    places: Sequence[Place],
    cap: int,
) -> None:
    """Show the searches `owners` the next-token laws at their `places`, all in one batch."""
    task = tasks[owners[0]]
    prompts = [tasks[owner].prompt for owner in owners]
    factors = factors_of(task, model.vocabulary)
    frontier = Frontier(model, factors, prompts, cap, begun=[place.tokens for place in places])
    look, paid, final = frontier.look(), frontier.log_reward, frontier.final
    for row, (owner, place) in enumerate(zip(owners, places, strict=True)):
        node = int(frontier.nodes[row])
        kept = searches[owner].trie.kept if place.again else 0
        searches[owner].learn(place, float(paid[row]), float(final[row]), look.law[node], look.scores[node], kept)


def _entropy(law: FloatArray) -> float:
    """Nats of a row of log probabilities."""
    possible = law[np.isfinite(law)]
    return -float(np.exp(possible) @ possible)
