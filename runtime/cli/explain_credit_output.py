"""What `bylaw explain --credit` prints: the answer token by token, the rules that its tokens broke, the sums."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bylaw.spec.errors import place
from bylaw.spec.source import Span

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardTerm
    from bylaw.runtime.credit import Placement, TermCredit, TokenCredit
    from bylaw.runtime.models.huggingface import HuggingFaceModel
    from bylaw.runtime.models.interface import FloatArray

SMALL = 0.005
"""Nats that are shown as a dot."""
Segment = tuple[str, str]
"""Words and their style in a terminal."""


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """The answer as the model's tokens; the last is its end. `ids` are without it."""

    model: HuggingFaceModel
    ids: tuple[int, ...]
    data: tuple[bytes | None, ...]

    def piece(self, index: int) -> str:
        """One token as it is shown."""
        from bylaw.runtime.decode_report.words import piece

        data = self.data[index]
        return piece((data or b"").decode("utf-8", "backslashreplace"), data is None)


@dataclass(frozen=True, slots=True)
class CreditShown:
    """All that is shown. `implicit` [T] nats, None without a trained model."""

    compiled: Compiled
    tokens: AnswerTokens
    terms: tuple[RewardTerm, ...]
    credit: TokenCredit
    placement: Placement
    implicit: FloatArray | None
    trained: str
    beta: float


# ----------------------------------------------------------------------------------------------------------- text
def print_credit(found: CreditShown) -> None:
    """On standard output, with colours on a terminal; marks are brackets too."""
    from rich.text import Text

    from bylaw.runtime.report.terminal import fit, standard_output

    console = standard_output()
    for line in _lines(found, console.width):
        shown = Text()
        for words, style in line:
            shown.append(fit(words, console), style)
        console.print(shown, highlight=False, soft_wrap=True)


def _lines(found: CreditShown, width: int) -> Iterator[list[Segment]]:
    """The answer, the rules and the sums, line by line."""
    name = found.tokens.model.name
    rows = "the rules" if found.implicit is None else f"the rules, and then the trained model `{found.trained}`,"
    yield [(f"the answer in tokens of `{name}`; below each token the nats that {rows} pay for it", "bold")]
    yield from _strip(found, width)
    broken = [pair for pair in _pairs(found) if pair[1].tokens]
    paying = [pair for pair in _pairs(found) if not pair[1].tokens and pair[1].paid != 0]
    open_ones = [pair for pair in _pairs(found) if _verdict(pair[1]) == "unscored"]
    for heading, pairs in (("broken", broken), ("weighed", paying)):
        if pairs:
            yield [("", "")]
            yield [(heading, "bold")]
            for term, credit in pairs:
                yield from ([(line, "")] for line in _rule(found, term, credit))
    silent = [(term, credit) for term, credit in open_ones if credit.paid == 0]
    if silent:
        yield [("", "")]
        yield [("undecided", "bold")]
        yield from (
            [(f"  {_where(found, term)}: {credit.score.reason}", "")] for term, credit in silent if credit.score
        )
    yield [("", "")]
    yield from ([(line, "")] for line in _sums(found))


def _strip(found: CreditShown, width: int) -> Iterator[list[Segment]]:
    """Lines of tokens, the marked ones in brackets, each with lines of nats below it."""
    marked = {index for _, credit in _pairs(found) for index in credit.tokens}
    below = [found.credit.rewards] + ([] if found.implicit is None else [found.implicit])
    lines: list[list[Segment]] = [[] for _ in range(1 + len(below))]
    used = 0
    for index in range(len(found.tokens.data)):
        shown = found.tokens.piece(index)
        words = [f"⟦{shown}⟧" if index in marked else shown, *(_cell(float(row[index])) for row in below)]
        size = max(map(len, words)) + 1
        if used and used + size > width - 2:
            yield from ([("  ", ""), *line[:-1]] for line in lines)
            lines, used = [[] for _ in lines], 0
        for place_, (line, word) in enumerate(zip(lines, words, strict=True)):
            style = "reverse" if index in marked and place_ == 0 else "dim" if place_ else ""
            line += [(word, style), (" " * (size - len(word)), "")]
        used += size
    yield from ([("  ", ""), *line[:-1]] for line in lines)


def _cell(value: float) -> str:
    return "·" if abs(value) < SMALL else "-inf" if value == -math.inf else f"{value:+.2f}"


def _rule(found: CreditShown, term: RewardTerm, credit: TermCredit) -> Iterator[str]:
    yield f"  {_where(found, term)}: {_pays(term, credit)}"
    if not credit.tokens:
        return
    assert credit.score is not None
    if credit.score.reason is not None:
        yield f"    {credit.score.reason}"
    last = len(found.tokens.data) - 1
    yield f"    shown by {_named(found, credit.tokens)}"
    if _verdict(credit) == "unscored":
        return
    if credit.settled is None:
        yield "    whether more text could still have mended it is not known: it has no automaton"
    elif credit.settled == last:
        yield "    until its end the answer could still have kept it"
    else:
        yield f"    broken for good with {_named(found, (credit.settled,))}: no continuation keeps it"


def _pays(term: RewardTerm, credit: TermCredit) -> str:
    if credit.paid == -math.inf:
        undecided = " (undecided, which counts as broken)" if _verdict(credit) == "unscored" else ""
        return f"forbids the answer{undecided}"
    if credit.score is not None and credit.score.contribution is None:
        unit = "multiplier is not calibrated" if term.kind == "budget" else "weight is not known"
        return f"its {unit} yet, so it pays nothing"
    return f"{credit.paid:+.2f} nats"


def _where(found: CreditShown, term: RewardTerm) -> str:
    from bylaw.runtime.report.text import one_line

    path, at = place(found.compiled.source, Span(term.extent.start, term.extent.end))
    title = f", {one_line(term.title, 60)}" if term.title else ""
    return f"{term.rule} ({path}:{at.line}){title}"


def _named(found: CreditShown, tokens: Sequence[int]) -> str:
    """`tokens 3 to 4 “␣da” “mn”`, in stretches."""
    stretches: list[list[int]] = []
    for index in tokens:
        if stretches and stretches[-1][-1] == index - 1:
            stretches[-1].append(index)
        else:
            stretches.append([index])
    parts = []
    for stretch in stretches[:5]:
        numbers = f"token {stretch[0] + 1}" if len(stretch) == 1 else f"tokens {stretch[0] + 1} to {stretch[-1] + 1}"
        words = " ".join(f"“{found.tokens.piece(index)}”" for index in stretch[:6])
        parts.append(f"{numbers} {words}{' ...' if stretch[6:] else ''}")
    return ", ".join(parts) + (f" and {len(stretches) - 5} more places" if stretches[5:] else "")


def _sums(found: CreditShown) -> Iterator[str]:
    hard = sum(credit.paid == -math.inf for _, credit in _pairs(found))
    soft = math.fsum(credit.paid for _, credit in _pairs(found) if credit.paid != -math.inf)
    if hard:
        rules = "a hard rule" if hard == 1 else f"{hard} hard rules"
        yield f"reward of the answer: -inf, forbidden by {rules}; all else pays {soft:+.2f} nats"
    else:
        yield f"reward of the answer: {soft:+.2f} nats"
    if found.implicit is not None:
        least = int(found.implicit.argmin())
        yield (
            f"implicit reward of `{found.trained}` against `{found.tokens.model.name}` at β {found.beta:g}: "
            f"{float(found.implicit.sum()):+.2f} nats; least with {_named(found, (least,))}: "
            f"{float(found.implicit[least]):+.2f}"
        )


def _pairs(found: CreditShown) -> list[tuple[RewardTerm, TermCredit]]:
    return list(zip(found.terms, found.credit.terms, strict=True))


def _verdict(credit: TermCredit) -> str:
    return "unscored" if credit.score is None else str(credit.score.verdict)


# ----------------------------------------------------------------------------------------------------------- JSON
def to_json(found: CreditShown) -> str:
    """Positions count from 1; what is −inf is null, with `forbidden` true."""
    shown = found.credit
    data = {
        "policy": found.compiled.require().policy,
        "model": {"name": found.tokens.model.name, "digest": found.tokens.model.digest},
        "placement": found.placement,
        "reward": _finite(shown.reward),
        "forbidden": shown.forbidden,
        "tokens": [
            {
                "position": index + 1,
                "text": (data or b"").decode("utf-8", "replace"),
                "bytes": (data or b"").hex(),
                "is_end": data is None,
                "reward": _finite(float(shown.rewards[index])),
                "forbidden": bool(shown.rewards[index] == -math.inf),
                "breaks": [term.id for term, credit in _pairs(found) if index in credit.tokens],
                "implicit": None if found.implicit is None else float(found.implicit[index]),
            }
            for index, data in enumerate(found.tokens.data)
        ],
        "rules": [_rule_data(found, term, credit) for term, credit in _pairs(found)],
        "implicit": None
        if found.implicit is None
        else {"trained": found.trained, "beta": found.beta, "reward": float(found.implicit.sum())},
    }
    return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False)


def _rule_data(found: CreditShown, term: RewardTerm, credit: TermCredit) -> dict[str, Any]:
    path, at = place(found.compiled.source, Span(term.extent.start, term.extent.end))
    score = credit.score
    return {
        "rule": term.rule,
        "term": term.id,
        "title": term.title,
        "kind": term.kind,
        "path": path,
        "line": at.line,
        "verdict": _verdict(credit),
        "reason": None if score is None else score.reason,
        "contribution": _finite(credit.paid),
        "forbidden": credit.paid == -math.inf,
        "evidence": [] if score is None else [[extent.start, extent.end] for extent in score.evidence],
        "tokens": [index + 1 for index in credit.tokens],
        "broken_for_good_at": None if credit.settled is None else credit.settled + 1,
        "rewards": [_finite(float(reward)) for reward in credit.rewards],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
