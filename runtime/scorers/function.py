"""A Python function of the author's, for what no other scorer can do. It is run only where the user allows it.

`scored by function "FILE.py:NAME"`: the file is beside the policy. The function gets a text and gives a number that
grows with how likely the text expresses the concept, or true or false; None: it cannot tell. With a parameter
`messages` it gets the conversation too: a list of {"role": ..., "content": ...} that ends with the text.

The function runs in this process with all that this process may do, and nothing can stop it: one that never ends is
never ended. What it raises makes its text unscored. Its numbers are held against examples and labels as those of any
scorer; without enough of them, they count only with --rough, and then have to lie between 0 and 1.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.scorers._calibrated import (
    HasStanding,
    Standing,
    answer,
    grouped_examples,
    made_digest,
    standing,
    text_digest,
)
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import ConceptScorer, Cost, Question, Scored, ScorerError, unscored
from bylaw.spec.errors import visible
from bylaw.spec.expression import Concept
from bylaw.spec.trace import Message

ARGUMENT = "a file beside the policy and a function in it, as `checks.py:is_rude`"
LARGEST = 1e9
"""A number beyond this is taken for a mistake."""
_SHOWN = 200
"""Characters of an error's message that are shown."""


@dataclass(frozen=True, slots=True, eq=False)
class FunctionScorer(HasStanding):
    """One function for one concept."""

    name: str
    digest: str
    reads: Literal["text", "conversation"]
    called: str
    function: Callable[..., Any]
    standing: Standing

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None) -> list[Scored]:
        """One answer for each question, in order."""
        found = []
        for question in questions:
            found.append(self._answer(question))
            progress(1)
        return found

    def _answer(self, question: Question) -> Scored:
        began = time.perf_counter()
        before = question.trace.messages if question.trace is not None else ()
        value = _call(self.function, self.reads, question.text, before, self.called)
        cost = Cost(seconds=time.perf_counter() - began)
        record = {"text": text_digest(question.text), "function": self.called, "digest": self.digest}
        if isinstance(value, Scored):
            return unscored(value.why or "input", value.reason, cost, record)
        is_share = 0 <= value <= 1
        if self.standing.calibration is None and self.standing.is_rough_allowed and not is_share:
            reason = f"`{self.called}` gave {value:g}; without labels its numbers have to lie between 0 and 1"
            return unscored("uncalibrated", reason, cost, record)
        return answer(self.standing, value, record, rough=float, cost=cost)


def make(concepts: tuple[Concept, ...], making: Making) -> Mapping[str, ConceptScorer]:
    """The scorer of each concept. Raises ScorerError where functions are not allowed, and for a function that is not
    there, cannot be loaded, or fails on a labelled text."""
    if making.options.get("function") is not True:
        name = concepts[0].name
        message = f"`{name}` is scored by a function, and functions of a policy are run with --allow-functions only"
        raise ScorerError(f"{message}: they can do whatever you can")
    return {concept.name: _scorer(concept, making) for concept in concepts}


def _scorer(concept: Concept, making: Making) -> FunctionScorer:
    called = (concept.scorer_argument or "").strip()
    function, content = _loaded(called, concept.name, making.base)
    reads = _reads(function, called)
    examples = grouped_examples((concept,), making)[concept.name]
    raw: list[float] = []
    for each in examples:
        value = _call(function, reads, each.text, _asked(each), called)
        if isinstance(value, Scored):
            raise ScorerError(f"`{concept.name}`, {each.place or 'a labelled text'}: {value.reason}")
        raw.append(value)
    held = standing(concept, examples, raw, making)
    digest = made_digest("function", concept, examples, making, content)
    return FunctionScorer("function", digest, reads, called, function, held)


def _asked(example: LabelledText) -> tuple[Message, ...]:
    return (Message("user", example.prompt),) if example.prompt else ()


def _loaded(called: str, concept: str, base: Path) -> tuple[Callable[..., Any], str]:
    """The function, and SHA-256 (hexadecimal) of its file; what the file imports is not in it."""
    place, _, name = called.rpartition(":")
    if not place.endswith(".py") or not name.isidentifier():
        message = f'`{concept}` is scored by function "{visible(called)}", which names no function'
        raise ScorerError(f'{message}; write `scored by function "FILE.py:NAME"`')
    path = base / place
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"`{concept}` is scored by a function in `{path}`, which cannot be read"
        raise ScorerError(f"{message}: {(error.strerror or str(error)).lower()}") from error
    digest = hashlib.sha256(content).hexdigest()
    module_name = f"_bylaw_function_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}_{digest[:16]}"
    if module_name not in sys.modules:
        specification = importlib.util.spec_from_file_location(module_name, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[module_name] = module  # dataclasses and pickling look there
        try:
            with redirect_stdout(sys.stderr):
                specification.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise ScorerError(f"`{path}` cannot be loaded: {_said(error)}") from error
    module = sys.modules[module_name]
    function = getattr(module, name, None)
    if not callable(function):
        raise ScorerError(f"there is no function `{name}` in `{path}`{_near(name, module)}")
    return function, digest


def _near(name: str, module: Any) -> str:
    from bylaw.spec import catalog

    known = tuple(key for key, value in vars(module).items() if inspect.isfunction(value))
    nearest = catalog.nearest(name, known)
    return f"; did you mean `{nearest}`?" if nearest else ""


def _reads(function: Callable[..., Any], called: str) -> Literal["text", "conversation"]:
    """Whether a function wants the conversation. Raises ScorerError where it cannot be called as this calls it."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "text"
    parameters = signature.parameters.values()
    reads: Literal["text", "conversation"] = (
        "conversation" if any(each.name == "messages" for each in parameters) else "text"
    )
    try:
        signature.bind("", **({"messages": []} if reads == "conversation" else {}))
    except TypeError as error:
        message = f"`{called}` cannot be called with a text" + (" and messages" if reads == "conversation" else "")
        raise ScorerError(f"{message}: {error}") from None
    if inspect.iscoroutinefunction(function):
        raise ScorerError(f"`{called}` is `async`, which is not supported; write a plain function")
    return reads


def _call(
    function: Callable[..., Any], reads: str, text: str, before: Sequence[Message], called: str
) -> float | Scored:
    """The number that a function gives, or why it gives none."""
    given: dict[str, Any] = {}
    if reads == "conversation":
        said = [{"role": each.role, "content": each.content} for each in before]
        if not said or said[-1]["content"] != text:
            said.append({"role": "assistant", "content": text})
        given["messages"] = said
    try:
        with redirect_stdout(sys.stderr):  # what a function prints is no part of a report
            value = function(text, **given)
    except (Exception, SystemExit) as error:
        return unscored("input", f"`{called}` failed: {_said(error)}")
    if value is None:
        return unscored("cannot_tell", f"`{called}` cannot tell")
    try:
        number = float(value)
    except OverflowError:
        return unscored("parse", f"`{called}` gave a number that is too large")
    except (TypeError, ValueError):
        return unscored("parse", f"`{called}` gave a `{type(value).__name__}`, which is no number")
    if isinstance(value, (str, bytes, bytearray)) or not abs(number) <= LARGEST:
        return unscored("parse", f"`{called}` gave {visible(repr(value)[:40])}, which is no number that it may give")
    return number


def _said(error: BaseException) -> str:
    words = visible(" ".join(str(error).split()))[:_SHOWN]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
