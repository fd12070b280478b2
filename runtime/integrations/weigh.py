"""Exact weights of responses that another loop drew from the proposal of a law, by teacher forcing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bylaw.runtime.decoders.engine import check_tasks, factors_of, finish, run
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, RegulatedSample
from bylaw.runtime.integrations.prefixes import Mode
from bylaw.runtime.models.interface import IntArray, LanguageModel


def weigh(
    model: LanguageModel,
    task: DecodeTask,
    responses: Sequence[Sequence[int]],
    max_tokens: int,
    *,
    mode: Mode = "twist",
    batch_size: int = 64,
) -> list[RegulatedSample | None]:
    """The responses (regular tokens, without the end of text) to the prompt of `task`, with their weights.

    None for one that the proposal cannot make, or whose bytes are no text: its weight is zero. A response shorter than
    `max_tokens` is taken to have ended by the end of text. Costs one pass for each token. Raises DecodeError for
    responses that are too long or hold special tokens; ModelError.
    """
    check_tasks([task], model, max_tokens)
    ends = model.vocabulary.end_ids
    for response in responses:
        if len(response) > max_tokens:
            raise DecodeError(f"a response of {len(response)} tokens is longer than {max_tokens}")
        if len(response) < max_tokens and not len(ends):
            raise DecodeError("a model without an end-of-text token cannot end before the last token")
        if not model.vocabulary.regular[list(response)].all():
            raise DecodeError("a response holds a special token, which no response can")
    found: list[RegulatedSample | None] = []
    for first in range(0, len(responses), batch_size):
        part = responses[first : first + batch_size]

        def choose(frontier: Frontier, rows: IntArray, step: int, part: Sequence[Sequence[int]] = part) -> IntArray:
            told = [part[row][step] if step < len(part[row]) else int(ends[0]) for row in rows]
            wanted = np.array(told, dtype=np.int64)
            return np.where(np.isfinite(frontier.look().scores[frontier.nodes, wanted]), wanted, -1)

        factors = factors_of(task, model.vocabulary)
        paths = run(model, [task.prompt] * len(part), factors, max_tokens, choose, masked=mode == "mask")
        sums = (paths.log_p0, paths.log_q, paths.log_reward)
        for row, response in enumerate(part):
            numbers = [float(each[row]) for each in sums]
            is_dead = bool(paths.dead[row])
            found.append(None if is_dead else finish(model.vocabulary, task.law, tuple(response), *numbers))
    return found
