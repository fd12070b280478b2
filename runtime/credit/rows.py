"""The rewards of the tokens of many rows, in the columns of a training batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.credit.outlook import FloatArray, Outlooks
from bylaw.runtime.credit.tokens import token_rewards
from bylaw.runtime.enforcement import PromptPlan
from bylaw.runtime.models.interface import Vocabulary


def row_rewards(
    plans: Sequence[PromptPlan],
    prompt: Sequence[int],
    tokens: Sequence[Sequence[int]],
    ended: Sequence[bool],
    vocabulary: Vocabulary,
    multipliers: Mapping[str, float],
    *,
    hard_penalty: float | None = None,
    evaluate_prefixes: bool = True,
    outlooks: Outlooks | None = None,
) -> FloatArray:
    """[N, T] nats for N rows: `tokens`, and after them the end of text where a row `ended`; 0 behind that.

    `prompt` [N]: the place of each row's prompt among `plans`. `multipliers` (nats, by term id) as in
    `PromptPlan.weighed`. T is the most tokens of a row, its end counted. The rows of equal prompt and tokens are
    computed once. Raises what `token_rewards` does.
    """
    known = outlooks or Outlooks()
    weighed: dict[int, tuple[RewardTerm, ...]] = {}
    found: dict[tuple[int, tuple[int, ...], bool], FloatArray] = {}
    rows = []
    for place, said, is_whole in zip(map(int, prompt), map(tuple, tokens), ended, strict=True):
        if place not in weighed:
            weighed[place] = plans[place].weighed(multipliers)
        key = place, said, bool(is_whole)
        if key not in found:
            found[key] = token_rewards(
                weighed[place],
                plans[place].trace,
                [*(vocabulary.token_bytes[token] for token in said), *([None] if is_whole else [])],
                hard_penalty=hard_penalty,
                stops=vocabulary.stops,
                drops_leading_space=vocabulary.drops_leading_space,
                evaluate_prefixes=evaluate_prefixes,
                outlooks=known,
            )
        rows.append(found[key])
    made = np.zeros((len(rows), max(map(len, rows), default=0)))
    for line, row in zip(made, rows, strict=True):
        line[: len(row)] = row
    return made
