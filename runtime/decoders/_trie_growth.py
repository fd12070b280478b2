"""Draws that walk down the tries of their prompts and grow them where they leave what is known.

All draws of a round see the law as it was when the round began: they walk first, then grow together in as few batches
as fit, and only then is anything backed up. Given the past they are independent draws from one law that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from bylaw.runtime.decoders._trie import TAIL, Leaf, Node, Tokens, Trie
from bylaw.runtime.decoders.engine import batches, factors_of, halved
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import DecodeTask
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, OutOfMemory, Vocabulary
from bylaw.runtime.models.metering import OutOfBudget, Stop

Pick = Callable[[Node, FloatArray, float], int]
"""(node, its masses [K + 1], a uniform) -> the place of the next token in them, K for the tail, −1 for none."""


@dataclass(eq=False)
class Draw:
    """One response in the making. `log_p0`, `log_q` count the choices made so far, nats.

    `parent`, `token`: where the next node to be evaluated hangs. `excluded`: tokens that the draw from the tail of a
    known node may not take; then `fraction` is the uniform of that draw.
    """

    task: int
    number: int
    uniforms: FloatArray
    tokens: Tokens = ()
    log_p0: float = 0.0
    log_q: float = 0.0
    state: Literal["open", "finished", "dead", "unfinished"] = "open"
    parent: int = -1
    token: int = TAIL
    excluded: IntArray | None = None
    fraction: float = 0.0


@dataclass(eq=False)
class Round:
    """What a round has learned and not yet backed up. `forbidden`: tokens of nodes that lead nowhere, by task."""

    touched: dict[int, set[int]] = field(default_factory=dict)
    forbidden: list[tuple[int, int, int]] = field(default_factory=list)

    def touch(self, task: int, number: int) -> None:
        self.touched.setdefault(task, set()).add(number)


@dataclass(frozen=True, eq=False)
class Growing:
    """What all rounds of a call share. `greedy`: new nodes are left by their best token and not by a draw."""

    model: LanguageModel
    tasks: Sequence[DecodeTask]
    tries: Sequence[Trie]
    cap: int
    batch_size: int
    greedy: bool

    @property
    def end(self) -> int | None:
        """The first end token."""
        ends = self.model.vocabulary.end_ids
        return int(ends[0]) if len(ends) else None

    def round(self, draws: Sequence[Draw], pick: Pick) -> tuple[list[Draw], Stop | None]:
        """The draws, finished, dead, or unfinished where a limit came first; the tries have learned from them."""
        learned = Round()
        for draw in draws:
            self._walk(draw, pick, learned)
        opened = {(draw.task, draw.number): draw for draw in draws if draw.state == "open"}
        waiting = [list(part) for part in batches(self.tasks, list(opened), self.batch_size)]
        stopped: Stop | None = None
        while waiting:
            keys = waiting.pop(0)
            part = [replace(opened[key]) for key in keys]
            if stopped is None:
                try:
                    stopped = self._grow(part, learned)
                except OutOfMemory:
                    if len(keys) == 1:
                        raise
                    waiting = halved(keys, waiting)
                    continue
            for key, draw in zip(keys, part, strict=True):
                opened[key] = replace(draw, state="unfinished") if draw.state == "open" else draw
        done = [opened.get((draw.task, draw.number), draw) for draw in draws]
        self._finish([draw for draw in done if draw.state == "finished"], learned)
        self._learn(learned)
        return done, stopped

    # ---------------------------------------------------------------------------------------------------- what is known
    def _walk(self, draw: Draw, pick: Pick, learned: Round) -> None:
        """Follow the trie until the response ends or what follows is not known."""
        trie = self.tries[draw.task]
        number = trie.child(-1, TAIL)
        while number is not None:
            node = trie.nodes[number]
            masses = trie.masses(node)
            slot = pick(node, masses, draw.uniforms[len(draw.tokens)])
            if slot < 0:
                draw.state = "dead"
                return
            if slot == len(node.tokens):
                draw.excluded = node.tokens.astype(np.int64)
                draw.fraction = _left_over(masses, draw.uniforms[len(draw.tokens)])
                return
            token = int(node.tokens[slot])
            draw.log_p0 += node.law[slot]
            draw.log_q += masses[slot] - node.total
            draw.parent, draw.token = number, token
            self._append(draw, token, learned)
            if draw.state != "open":
                return
            number = node.children.get(token)

    def _append(self, draw: Draw, token: int, learned: Round) -> None:
        """The choice of a token at the node `draw.parent`."""
        if token == self.end:
            draw.state = "finished"
            return
        draw.tokens = (*draw.tokens, token)
        rule = self.tasks[draw.task].law.prefix_rule
        if len(draw.tokens) == self.cap or self.model.vocabulary.stopped(draw.tokens):
            draw.state = "finished"
        elif rule is not None and not rule(self.model.vocabulary.beginning(draw.tokens)):
            draw.state = "dead"
            learned.forbidden.append((draw.task, draw.parent, token))

    # ------------------------------------------------------------------------------------------------------ what is new
    def _grow(self, draws: Sequence[Draw], learned: Round) -> Stop | None:
        """Take draws with the same factors to their ends in one session; those that a limit cuts stay open."""
        factors = factors_of(self.tasks[draws[0].task], self.model.vocabulary)
        rows = list(draws)
        prompts = [self.tasks[draw.task].prompt for draw in rows]
        try:
            frontier = Frontier(self.model, factors, prompts, self.cap, begun=[draw.tokens for draw in rows])
            while rows:
                chosen = self._choose(frontier, rows)
                self._store(frontier, rows, chosen, learned)
                for draw, token in zip(rows, chosen, strict=True):
                    if token < 0:
                        draw.state = "dead"
                    else:
                        self._append(draw, token, learned)
                alive = [row for row, draw in enumerate(rows) if draw.state == "open"]
                rows = [rows[row] for row in alive]
                if rows:
                    frontier.advance(np.array(alive), np.array([draw.token for draw in rows]))
        except OutOfBudget as error:
            return error.reason
        return None

    def _choose(self, frontier: Frontier, rows: Sequence[Draw]) -> list[int]:
        """The next token of every row, with its logarithms added up; −1 where nothing may follow."""
        look, chosen = frontier.look(), []
        for draw, node in zip(rows, frontier.nodes, strict=True):
            scores, running, total = look.scores[node], look.cumulative[node], float(look.total[node])
            uniform = draw.uniforms[len(draw.tokens)]
            if draw.excluded is not None:
                scores = scores.copy()
                scores[draw.excluded] = -np.inf
                running = np.cumsum(np.exp(scores - scores.max()))
                trie = self.tries[draw.task]
                known = trie.child(draw.parent, draw.token)
                total = trie.nodes[known or 0].total - trie.shift
                uniform, draw.excluded = draw.fraction, None
            if not np.isfinite(total):
                chosen.append(-1)
                continue
            at = int(np.argmax(scores)) if self.greedy else _invert(running, uniform)
            chosen.append(at)
            draw.log_p0 += look.law[node, at]
            draw.log_q += scores[at] - total
        return chosen

    def _store(self, frontier: Frontier, rows: Sequence[Draw], chosen: Sequence[int], learned: Round) -> None:
        """Keep the nodes that the rows are at, and hang the rows below them."""
        look, paid, final = frontier.look(), frontier.log_reward, frontier.final
        groups: dict[tuple[int, int], list[int]] = {}
        for row, node in enumerate(frontier.nodes):
            groups.setdefault((rows[row].task, int(node)), []).append(row)
        for (task, node), members in groups.items():
            first = members[0]
            needed = [chosen[row] for row in members if chosen[row] >= 0]
            number = self.tries[task].put(
                rows[first].parent,
                rows[first].token,
                float(paid[first]),
                float(final[first]),
                look.law[node],
                look.scores[node],
                needed,
            )
            learned.touch(task, number)
            for row in members:
                rows[row].parent, rows[row].token = number, chosen[row]

    # ------------------------------------------------------------------------------------------------- what comes of it
    def _finish(self, draws: Sequence[Draw], learned: Round) -> None:
        """Pay the responses that are new."""
        cut: dict[tuple[int, ...], list[Draw]] = {}
        for draw in draws:
            learned.touch(draw.task, draw.parent)
            trie = self.tries[draw.task]
            if draw.tokens in trie.leaves:
                continue
            if draw.token == self.end:
                node = trie.nodes[draw.parent]
                self._pay(draw, node.paid + node.final)
            else:
                task = self.tasks[draw.task]
                same = tuple(id(factor) for factor in (*task.twists, None, *task.look_ahead))
                cut.setdefault(same, []).append(draw)
        for part in cut.values():
            # what a last token pays that no end of text follows, without a pass of the model
            total = np.zeros(len(part))
            for factor in factors_of(self.tasks[part[0].task], self.model.vocabulary):
                prompts = [self.tasks[draw.task].prompt for draw in part]
                state = factor.begin(prompts, [draw.tokens for draw in part])
                total += state.paid + state.final()
            for draw, reward in zip(part, total, strict=True):
                if draw.tokens not in self.tries[draw.task].leaves:
                    self._pay(draw, float(reward))

    def _pay(self, draw: Draw, reward: float) -> None:
        trie = self.tries[draw.task]
        node = trie.nodes[draw.parent]
        leaf = finished(self.model.vocabulary, self.tasks[draw.task], draw.tokens, reward)
        trie.leaves[draw.tokens] = leaf
        trie.settle(draw.parent, draw.token, node.law[node.slot(draw.token)] + leaf.reward - node.paid)

    def _learn(self, learned: Round) -> None:
        for task, number, token in learned.forbidden:
            self.tries[task].settle(number, token, -np.inf)
            learned.touch(task, number)
        for task, numbers in learned.touched.items():
            self.tries[task].refresh(numbers)
            self.tries[task].calibrate()

    def remove(self, draws: Sequence[Draw]) -> None:
        """Responses that were handed out are not drawn again."""
        for draw in draws:
            if draw.state == "finished":
                self.tries[draw.task].settle(draw.parent, draw.token, -np.inf, removed=True)
        for task in {draw.task for draw in draws}:
            self.tries[task].refresh(draw.parent for draw in draws if draw.task == task and draw.state == "finished")


def finished(vocabulary: Vocabulary, task: DecodeTask, tokens: Tokens, reward: float) -> Leaf:
    """A response that the factors have paid `reward` nats, with what only the finished text is paid."""
    try:
        text = vocabulary.text(tokens)
    except UnicodeDecodeError:
        return Leaf(None, -np.inf)
    return Leaf(text, reward if reward == -np.inf else reward + task.law.beyond_groups(text))


def by_mass(node: Node, masses: FloatArray, uniform: float) -> int:
    """Draw in proportion to the masses; −1 where there is none."""
    if node.total == -np.inf:
        return -1
    return _invert(np.cumsum(np.exp(masses - masses.max())), uniform)


def _invert(running: FloatArray, uniform: float) -> int:
    """The inverse of running sums [N] at a uniform in [0, 1)."""
    # u·total can round up to total itself; one step below keeps the choice on a place with positive mass
    target = min(uniform * running[-1], np.nextafter(running[-1], 0.0))
    return int(np.searchsorted(running, target, side="right"))


def _left_over(masses: FloatArray, uniform: float) -> float:
    """The uniform that is left of one that fell into the last of the masses."""
    running = np.cumsum(np.exp(masses - masses.max()))
    before = running[-2] if len(running) > 1 else 0.0
    return float(np.clip((uniform * running[-1] - before) / (running[-1] - before), 0.0, np.nextafter(1.0, 0.0)))
