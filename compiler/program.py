"""The reward program: a policy as terms of the one law, as plain data.

A program is what every later stage reads: the evaluator, the decoder, the trainer, the audit. It is JSON with a schema
version and a digest. The digest covers what the policy means, not where it is written, and not the multipliers that
calibration puts in: a calibration record names the digest of the rules that it was made for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import Field, dataclass, replace
from typing import Any, Final, Literal

from bylaw.spec.expression import BooleanExpression, ConceptScore, Extent, Node, NumberExpression
from bylaw.spec.logic import walk
from bylaw.spec.regulator import Action, Sense

SCHEMA_VERSION: Final = 1

_ALWAYS_WRITTEN = frozenset({"op", "schema_version"})

TermKind = Literal["hard", "soft", "graded", "budget"]


class ProgramError(Exception):
    """The root of what can go wrong with a reward program.

    ProgramError
    +-- ProgramFormatError     the JSON is not a reward program of this schema version
    +-- ProgramInvalid         `verify` found a broken invariant (compiler/verify.py)
    """


class ProgramFormatError(ProgramError):
    """The JSON is not a reward program that this version can read."""


@dataclass(frozen=True, slots=True)
class Waiver(Node):
    """Why a term does not count somewhere: `by` is an exception, a permission or a rule.

    It counts `where` this holds (None: everywhere). The condition of the term already leaves out what is waived, and
    what it holds has room for what is eased; a waiver only remembers the reason.
    """

    by: str
    reason: Literal["exception", "permission", "override", "level"]
    where: BooleanExpression | None = None


@dataclass(frozen=True, slots=True)
class RewardTerm(Node):
    """One factor of the law for one clause of the policy.

    hard    1[holds]: `holds` has to be true wherever `condition` is.
    soft    exp(-weight) when `holds` is false where `condition` is true; `weight` in nats, not negative.
    graded  exp(weight * value); the sign of `weight` (nats per unit of `value`) says which way is better.
    budget  exp(-multiplier * value), where E[value] is bounded over the prompts that meet `condition`; a yes-or-no
            event is `holds`, a quantity is `value`. `multiplier` (nats) is None until calibration has solved for it.
            `suite` names the prompts that it is about; `condition` spells them out. With `among`, it is about those
            responses for which `among` is true: exp(-multiplier * (value - bound)) there, and 1 elsewhere, so that
            the average of value - bound over all responses is bounded by 0. `each_prompt` gives every prompt a
            multiplier of its own. `price` (nats per unit of `value`) is the most that the multiplier may be; beyond
            it the bound gives way.

    `waivers` lift the whole term somewhere, and `own` is its condition without them; `eased` are permissions that lift
    a part of what it holds. `action` is what a gateway does with an answer that breaks the term, and `action_message`
    what it tells the user.
    """

    id: str
    rule: str
    kind: TermKind
    level: str
    extent: Extent
    title: str | None = None
    because: str | None = None
    condition: BooleanExpression | None = None
    holds: BooleanExpression | None = None
    value: NumberExpression | None = None
    weight: float | None = None
    sense: Sense | None = None
    bound: float | None = None
    confidence: float | None = None
    multiplier: float | None = None
    suite: str | None = None
    own: BooleanExpression | None = None
    waivers: tuple[Waiver, ...] = ()
    eased: tuple[Waiver, ...] = ()
    sources: tuple[str, ...] = ()
    action: Action | None = None
    action_message: str | None = None
    among: BooleanExpression | None = None
    each_prompt: bool = False
    price: float | None = None


def scores_in(term: RewardTerm) -> tuple[ConceptScore, ...]:
    """The scores of concepts that a term hangs on."""
    said = [each for each in (term.condition, term.among, term.holds, term.value) if each is not None]
    return tuple(part for each in said for part in walk(each) if isinstance(part, ConceptScore))


@dataclass(frozen=True, slots=True)
class RewardProgram(Node):
    """All terms of a policy. `levels` run from the strongest to the weakest."""

    policy: str
    version: str
    levels: tuple[str, ...]
    terms: tuple[RewardTerm, ...]
    schema_version: Literal[1] = SCHEMA_VERSION

    def term(self, identifier: str) -> RewardTerm:
        """The term with this id. Raises KeyError."""
        for term in self.terms:
            if term.id == identifier:
                return term
        raise KeyError(identifier)

    def with_multipliers(self, multipliers: Mapping[str, float]) -> RewardProgram:
        """This program with solved multipliers (nats) for its budgets, by term id."""
        unknown = set(multipliers) - {t.id for t in self.terms if t.kind == "budget"}
        if unknown:
            raise ProgramError(f"there is no budget called {', '.join(sorted(unknown))} in this program")
        return replace(
            self, terms=tuple(replace(t, multiplier=multipliers.get(t.id, t.multiplier)) for t in self.terms)
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON without extents and multipliers, as `sha256:...`."""
        import hashlib  # loads OpenSSL, which a check does without

        body = _without(to_data(self), {"extent", "multiplier"})
        return "sha256:" + hashlib.sha256(_canonical(body).encode()).hexdigest()


def verdict_digest(term: RewardTerm) -> str:
    """SHA-256 of what decides whether a transcript keeps or breaks a term, as `sha256:...`.

    That is where it applies and what it holds or measures, with lexicons and parameters spelled out and with the
    definitions of the concepts that it asks about; and whether the event is counted (a budget) or is to be kept. Names,
    reasons, places in the file, levels, weights, limits and confidences are not in it: they change no verdict.
    """
    import hashlib

    said = {name: _plain(getattr(term, name)) for name in ("condition", "among", "holds", "value")}
    body = {**_without(said, {"extent"}), "counts": term.kind == "budget"}
    return "sha256:" + hashlib.sha256(_canonical(body).encode()).hexdigest()


def to_data(program: RewardProgram) -> dict[str, Any]:
    """The program as JSON values, without its digest."""
    return _plain(program)  # type: ignore[no-any-return]


def to_json(program: RewardProgram, indent: int | None = 2) -> str:
    """The program as JSON text, with its digest."""
    return json.dumps({"digest": program.digest, **to_data(program)}, ensure_ascii=False, indent=indent)


def from_json(text: str) -> RewardProgram:
    """Reads what `to_json` wrote.

    Raises ProgramFormatError for anything else, a wrong digest included, and ProgramInvalid for a program that breaks
    an invariant.
    """
    from pydantic import ValidationError

    from bylaw.compiler.program_reader import validator
    from bylaw.compiler.verify import verify

    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ProgramFormatError(f"this is not JSON: {error}") from None
    if not isinstance(data, dict) or "digest" not in data:
        raise ProgramFormatError("this is not a reward program: it has no `digest`")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise ProgramFormatError(
            f"this program has schema version {data.get('schema_version')!r}; this bylaw reads version {SCHEMA_VERSION}"
        )
    digest = data.pop("digest")
    try:
        program: RewardProgram = validator(RewardProgram).validate_json(json.dumps(data))
    except (ValidationError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deeply"}
        place = ".".join(str(part) for part in first["loc"])
        raise ProgramFormatError(f"this is not a reward program: `{place}`: {first['msg']}") from None
    if program.digest != digest:
        raise ProgramFormatError("the digest does not belong to this program: it was changed after it was compiled")
    return verify(program)


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, without the fields that have their usual value: so a new field changes no digest."""
    if isinstance(value, Node):
        fields: Mapping[str, Field[Any]] = value.__dataclass_fields__  # type: ignore[attr-defined]
        items = ((name, field.default, getattr(value, name)) for name, field in fields.items())
        return {name: _plain(item) for name, usual, item in items if name in _ALWAYS_WRITTEN or item != usual}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    return value


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
