"""Prompts that show several answers to one question beside each other: for comparing two, and for ranking many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bylaw.runtime.judges.injection import fresh_nonce, judge_copy
from bylaw.runtime.judges.interface import JudgeError, JudgeMessage
from bylaw.runtime.judges.judge import Judge
from bylaw.runtime.judges.prompt import Prompt, render


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to one prompt that are judged by a principle: the text of a clause, or of a whole policy. Raises
    JudgeError for an empty principle."""

    principle: str
    texts: tuple[str, ...]
    prompt: str = ""

    def __post_init__(self) -> None:
        if not self.principle.strip():
            raise JudgeError("answers are compared by a principle, and this one is empty")


def side_by_side(kind: str, judge: Judge, answers: Answers, names: Sequence[str], order: Sequence[int]) -> Prompt:
    """The prompt `KIND_system` and `KIND_user` with the texts in this order under these names. All texts together get
    the characters that a judge is shown of one text; `Prompt.copies` are in the order shown."""
    most = max(judge.most_characters // max(len(order), 1), 100)
    copies = tuple(judge_copy(answers.texts[i], most) for i in order)
    prompt = judge_copy(answers.prompt, most).text
    nonce = fresh_nonce([prompt, answers.principle, *(copy.text for copy in copies)], judge.draw)
    shown = [(name, copy.text) for name, copy in zip(names, copies, strict=True)]
    values: dict[str, Any] = {"prompt": prompt, "nonce": nonce, "answers": shown, "names": list(names)}
    system = render(f"{kind}_system.jinja", principle=answers.principle)
    user = render(f"{kind}_user.jinja", **values)
    return Prompt((JudgeMessage("system", system), JudgeMessage("user", user)), nonce, copies, (prompt,))


def too_long(prompt: Prompt) -> str | None:
    """Why these answers cannot be compared: the judge would see a part of one only."""
    cut = sum(copy.cut for copy in prompt.copies)
    return f"the answers are too long to be judged together: {cut} characters would be left out" if cut else None
