"""Prompts for judges: trusted templates of this package, with untrusted text as a variable inside marked tags.

The templates are sandboxed and strict (a variable that is missing is an error, not an empty place). What a system
message says depends on the rubric only, so that servers can keep its beginning in their caches; the text, its mark and
the question once more stand in the user's message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bylaw.runtime.judges.injection import MOST_CHARACTERS, JudgeCopy, fresh_nonce, judge_copy
from bylaw.runtime.judges.interface import JudgeError, JudgeMessage
from bylaw.runtime.judges.rubric import Rubric, spoken_name

if TYPE_CHECKING:
    from jinja2 import Environment

_BEFORE_SHARE = 4


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A text to be judged. `before`: what was said before it, as (role, content), for judges that read it."""

    text: str
    before: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages, the mark in them, what the judge sees of each text that it is asked about, and of `others` that
    nobody vouches for either."""

    messages: tuple[JudgeMessage, ...]
    nonce: str
    copies: tuple[JudgeCopy, ...]
    others: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """All texts in the prompt that a verdict may have been planted in."""
        return (*(copy.text for copy in self.copies), *self.others)


def question_prompt(
    rubric: Rubric, exhibit: Exhibit, *, most: int = MOST_CHARACTERS, draw: Callable[[], str] | None = None
) -> Prompt:
    """The question of a rubric about one text. `most`: characters of the text that are shown, and a quarter of that for
    all that was said before it, the last messages first. `draw`: the source of marks, for tests."""
    copy = judge_copy(exhibit.text, most)
    before = _shown_before(exhibit.before, max(most // _BEFORE_SHARE, 100))
    others = tuple(content for _, content in before)
    nonce = fresh_nonce([copy.text, *others, *_own_words(rubric)], draw)
    words = [f'"{word}"' for word in rubric.words]
    system = render("question_system.jinja", rubric=rubric, spoken=spoken_name(rubric.name))
    user = render("question_user.jinja", rubric=rubric, text=copy.text, before=before, nonce=nonce, words=words)
    return Prompt((JudgeMessage("system", system), JudgeMessage("user", user)), nonce, (copy,), others)


def again_prompt(messages: Sequence[JudgeMessage], answer: str, problem: str, form: str) -> tuple[JudgeMessage, ...]:
    """The same question once more after an answer that could not be read. `form`: what the answer should be."""
    said = JudgeMessage("assistant", judge_copy(answer, 2_000).text)
    return (*messages, said, JudgeMessage("user", render("again_user.jinja", problem=problem, form=form)))


def render(template: str, **values: Any) -> str:
    """A template of this package with its variables. Raises JudgeError for a template that lacks one."""
    from jinja2 import TemplateError

    try:
        return _environment().get_template(template).render(**values).strip() + "\n"
    except TemplateError as error:
        raise JudgeError(f"the template {template} cannot be used: {error}") from error


@cache
def templates_digest() -> str:
    """SHA-256 (hexadecimal) over the names and texts of all templates: part of every record."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.jinja")):
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


@cache
def _environment() -> Environment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # no HTML: untrusted text is marked off by tags with a random mark instead
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown_before(before: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """The last messages that fit into `most` characters, in order; the earliest of them cut where it must be."""
    shown: list[tuple[str, str]] = []
    left = most
    for role, content in reversed(before):
        if left < 100:
            break
        copy = judge_copy(content, left).text
        shown.append((role, copy))
        left -= len(copy)
    return shown[::-1]


def _own_words(rubric: Rubric) -> list[str]:
    """The words of the policy in the prompt: a mark that one of them holds would not be a mark."""
    return [rubric.question, rubric.meaning, rubric.criteria, *(example.text for example in rubric.examples)]
