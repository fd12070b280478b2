"""A probe: a prompt that was made to show how a model keeps certain rules, and the check that it is about them.

What decides whether a prompt brings a rule into force is the reference evaluator: the rule's condition, specialised to
the conversation without an answer (compiler/specialise.py). A probe that does not do what it claims is not written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from bylaw.compiler.analysis import Scored
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.specialise import TRUE, CannotSpecialise, specialise
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.logic import conjuncts, meaning, reads_response
from bylaw.spec.trace import FactValue, Message, Trace

Origin: TypeAlias = Literal["policy", "given", "condition", "template", "conflict", "generator"]
"""Where a prompt comes from: an example, a test or a suite of the policy; a file of the user; the rule's condition; a
template around one of these; a pair of rules; a model."""
Lean: TypeAlias = Literal["neutral", "break", "keep", "first", "second"]
"""What a prompt pushes the answer to: nothing; breaking or keeping the rule; of two rules the first or the second."""
Set: TypeAlias = Literal["search", "estimation"]
"""`search`: to look for weak places, as often as one likes. `estimation`: to measure rates, with prompts that nothing
was ever chosen by."""
LONGEST = 20_000
"""Characters of a prompt."""
HARDEST = 5


class ProbeError(Exception):
    """Probes cannot be made, read or used as asked; text fit for users. Root of the errors of `bylaw.runtime.probes`.

    ProbeError
    +-- TemplateProblem     a template cannot be used (templates.py)
    +-- FolderError         a folder of probes cannot be read, written or used (files.py)
    """


@dataclass(frozen=True, slots=True)
class Aim:
    """What a probe is about: those sentences of one rule that have the same condition, under one name."""

    name: str
    rule: str
    terms: tuple[RewardTerm, ...]

    @property
    def term(self) -> RewardTerm:
        """The first sentence: all have its condition."""
        return self.terms[0]


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt. `messages` end with the user's; `facts` come with it.

    `aims` are the names of what it is about (two for a pair of rules). `difficulty` (1 to 5) says how hard the push is.
    `template` and `variant` name what the prompt went through. `roots` are the texts that it was made from: probes that
    share one are never in different sets. `family` names all that hang together by roots, `part` is the set;
    both are empty until probes are parted. `hangs_on_answer`: whether it is the answer that settles if the rules apply.
    """

    messages: tuple[Message, ...]
    aims: tuple[str, ...]
    origin: Origin
    roots: tuple[str, ...]
    facts: Mapping[str, FactValue] = field(default_factory=lambda: MappingProxyType({}))
    lean: Lean = "neutral"
    difficulty: int = 1
    template: str = ""
    variant: str = ""
    hangs_on_answer: bool = False
    family: str = ""
    part: Set | None = None
    relation: str = ""

    @property
    def trace(self) -> Trace:
        """The conversation without an answer."""
        return Trace(self.messages, dict(self.facts), id=self.id)

    @property
    def text(self) -> str:
        """What the user says last."""
        return self.messages[-1].content

    @property
    def id(self) -> str:
        """A short name that is the same for the same messages, facts and aims, on every machine."""
        said = [[each.role, each.content, each.tool, list(each.arguments)] for each in self.messages]
        data = json.dumps([said, sorted(self.facts.items()), self.aims], ensure_ascii=True)
        return "p-" + hashlib.sha256(data.encode()).hexdigest()[:12]

    def saying(self, text: str) -> Probe:
        """The same probe with another last message."""
        return replace(self, messages=(*self.messages[:-1], Message("user", text)))


def root_of(text: str) -> str:
    """A key of a text that is the same whatever its case, spaces and punctuation are."""
    plain = " ".join(re.findall(r"\w+", text.casefold()))
    return hashlib.sha256((plain or text).encode("utf-8", "surrogatepass")).hexdigest()[:12]


# ------------------------------------------------------------------------------------------------------------- aims
def aims_of(terms: Sequence[RewardTerm], chosen: Sequence[str] = ()) -> tuple[Aim, ...]:
    """What there is to probe, in the order of the policy: of all rules, or of the rules (or sentences) in `chosen`.

    Raises ProbeError for a name that is no rule and no sentence.
    """
    from bylaw.spec import catalog

    known = tuple(dict.fromkeys(name for term in terms for name in (term.rule, term.id)))
    for name in chosen:
        if name not in known:
            nearest = catalog.nearest(name, known)
            raise ProbeError(f"there is no rule called `{name}`" + (f"; did you mean `{nearest}`?" if nearest else ""))
    groups: dict[object, list[RewardTerm]] = {}
    for term in terms:
        groups.setdefault((term.rule, meaning(term.condition)), []).append(term)
    conditions = Counter(found[0].rule for found in groups.values())
    return tuple(
        Aim(found[0].rule if conditions[found[0].rule] == 1 else found[0].id, found[0].rule, tuple(found))
        for found in groups.values()
        if not chosen or any(name in chosen for term in found for name in (term.rule, term.id))
    )


# -------------------------------------------------------------------------------------------------------- the check
@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a conversation brings a rule into force before it is answered: `yes`, `answer` (that hangs on the
    answer), `no`, or `unknown` for a `reason`."""

    status: Literal["yes", "answer", "no", "unknown"]
    reason: str = ""

    @property
    def is_met(self) -> bool:
        """Whether what the prompt can do for the condition is done."""
        return self.status in ("yes", "answer")


def standing(term: RewardTerm, trace: Trace) -> Standing:
    """What the condition of a term says of a conversation without an answer."""
    if term.condition is None:
        return Standing("yes")
    bare = RewardTerm(
        term.id, term.rule, "soft", term.level, term.extent, condition=term.condition, holds=TRUE, weight=0.0
    )
    try:
        alive = specialise(RewardProgram("probe", "1", (term.level,), (bare,)), trace)
    except CannotSpecialise as error:
        return Standing("unknown", error.reason)
    if not alive:
        return Standing("no", "the condition of the rule is false here")
    return Standing("yes" if alive[0].condition is None else "answer")


def before_the_answer(term: RewardTerm) -> tuple[BooleanExpression, ...]:
    """The parts of a term's condition that are settled before an answer is written."""
    return tuple(part for part in conjuncts(term.condition) if not reads_response(part))


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks probes against the sentences that they claim to be about.

    `terms`: by the name of an aim. `pairs`: by the name of a sentence, as it is written: a probe of a pair claims that
    both conditions hold, though a stronger rule may lift a weaker one there. `scored` adds to a conversation what
    scorers say of its texts.
    """

    terms: Mapping[str, RewardTerm]
    pairs: Mapping[str, RewardTerm]
    scored: Scored

    def __call__(self, probe: Probe) -> Probe | str:
        """The probe with `hangs_on_answer` as it is, or why it must not be written. Raises KeyError for an aim that is
        not known."""
        problem = _unfit(probe)
        if problem is not None:
            return problem
        trace = self.scored(Trace(probe.messages, dict(probe.facts)))
        terms = self.pairs if probe.relation else self.terms
        found = [standing(terms[name], trace) for name in probe.aims]
        for name, each in zip(probe.aims, found, strict=True):
            if not each.is_met:
                return f"`{name}`: {each.reason}"
        return replace(probe, hangs_on_answer=any(each.status == "answer" for each in found))


Check: TypeAlias = Callable[[Probe], "Probe | str"]


def _unfit(probe: Probe) -> str | None:
    if not probe.messages or probe.messages[-1].role != "user":
        return "it does not end with a user message"
    if not probe.text.strip():
        return "the user says nothing"
    if sum(len(each.content) for each in probe.messages) > LONGEST:
        return f"it is longer than {LONGEST:,} characters"
    try:
        for each in probe.messages:
            each.content.encode("utf-8")
    except UnicodeEncodeError:
        return "it holds half a surrogate pair"
    return None
