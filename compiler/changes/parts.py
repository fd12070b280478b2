"""What changed around the rules: levels, exceptions, suites, concepts, and what sentences are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from bylaw.compiler.changes.rules import Renamed, concept_pairs, waivable_words
from bylaw.compiler.changes.types import Change, Kind, Place, RulePair, Version
from bylaw.spec import ast
from bylaw.spec.expression import Concept, Extent
from bylaw.spec.literate import Heading, headings
from bylaw.spec.logic import meaning
from bylaw.spec.printer import to_text
from bylaw.spec.regulator import PolicyException, Regulator
from bylaw.spec.source import Span


def levels(old: Version, new: Version) -> Iterator[Change]:
    """The chain of command."""
    before, after = old.policy.levels, new.policy.levels
    if before == after:
        return
    come, gone = [name for name in after if name not in before], [name for name in before if name not in after]
    told = [f"`{name}` is new" for name in come] + [f"`{name}` is gone" for name in gone]
    kept_before, kept_after = [n for n in before if n in after], [n for n in after if n in before]
    if kept_before != kept_after:
        told.append("the order is another one")
    one, other = " > ".join(before), " > ".join(after)
    yield Change("levels", "levels", f"{one} -> {other}: {', '.join(told)}", True, one, other)


# --------------------------------------------------------------------------------------------------- what is lifted
def exceptions(old: Version, new: Version, renamed: Renamed) -> Iterator[Change]:
    """Exceptions by name."""
    before = {each.name: each for each in old.policy.exceptions}
    after = {each.name: each for each in new.policy.exceptions}
    for name, other in after.items():
        one = before.get(name)
        place = new.place(other.extent)
        if one is None:
            words = f"lifts `{other.target}` now: {_declared(other, new)}"
            yield Change("exception", name, words, True, None, _declared(other, new), None, place)
            continue
        where = (old.place(one.extent), place)
        if renamed.get(one.target, one.target) != other.target:
            words = f"lifts `{other.target}` now, and no longer `{one.target}`"
            yield Change("exception", name, words, True, one.target, other.target, *where)
        if one.level != other.level:
            yield Change(
                "exception", name, f"level `{one.level}` -> `{other.level}`", True, one.level, other.level, *where
            )
        if meaning(one.condition) != meaning(other.condition):
            said = _declared(one, old), _declared(other, new)
            words = (
                f"{said[0]} -> {said[1]}" if said[0] != said[1] else f"{said[1]} (what these words stand for changed)"
            )
            yield Change("exception", name, words, True, *said, *where)
        if one.waivable != other.waivable:
            can = waivable_words(one.waivable), waivable_words(other.waivable)
            yield Change("exception", name, f"{can[0]} -> {can[1]}", True, *can, *where)
        if (one.title, one.because) != (other.title, other.because):
            yield Change("because", name, "its title or its reason changed", False, one.because, other.because, *where)
    for name, one in before.items():
        if name not in after:
            words = f"no longer lifts `{one.target}`: {_declared(one, old)}"
            yield Change("exception", name, words, True, _declared(one, old), None, old.place(one.extent), None)


def _declared(exception: PolicyException, version: Version) -> str:
    for item in version.compiled.module.items:
        if isinstance(item, ast.ExceptionDecl) and item.name.text == exception.name:
            said = [c.span for c in item.clauses if isinstance(c, (ast.When, ast.Unless))]
            words = " ".join(version.words(Extent(span.start, span.end)) for span in said)
            return words or "everywhere"
    return "everywhere" if exception.condition is None else "under its condition"


def lifted(pair: RulePair, old: Version, new: Version, renamed: Renamed) -> Iterator[Change]:
    """What else lifts a rule now, or no longer: permissions, overrides, stronger levels. Exceptions tell themselves."""
    before = {(renamed.get(by, by), why) for by, why in _waivers(pair.old_name, old)}
    after = _waivers(pair.new_name, new)
    for by, why in sorted(after - before):
        yield Change("lifted", pair.name, f"gives way to `{by}` now ({_REASONS[why]})", True, None, by)
    for by, why in sorted(before - after):
        yield Change("lifted", pair.name, f"no longer gives way to `{by}` ({_REASONS[why]})", True, by, None)


_REASONS = {"permission": "a permission", "override": "it overrides the rule", "level": "it stands at a stronger level"}


def _waivers(rule: str | None, version: Version) -> set[tuple[str, str]]:
    terms = [term for term in version.program.terms if term.rule == rule]
    return {
        (each.by, each.reason) for term in terms for each in (*term.waivers, *term.eased) if each.reason in _REASONS
    }


# ---------------------------------------------------------------------------------------------- suites and concepts
def suites(old: Version, new: Version) -> Iterator[Change]:
    """The prompts that limits are about; a suite that no limit uses means nothing by itself."""
    used = {each.suite for version in (old, new) for each in version.policy.regulators}
    before = {suite.name: suite for suite in old.policy.suites}
    after = {suite.name: suite for suite in new.policy.suites}
    for name in dict.fromkeys((*after, *before)):
        one, other = before.get(name), after.get(name)
        asked = Counter(() if one is None else one.prompts), Counter(() if other is None else other.prompts)
        if asked[0] == asked[1] and (one is None) == (other is None):
            continue
        sizes = str(asked[0].total()), str(asked[1].total())
        more, fewer = (asked[1] - asked[0]).total(), (asked[0] - asked[1]).total()
        words = f"{sizes[0]} -> {sizes[1]} prompts ({more} new, {fewer} gone)"
        places = None if one is None else old.place(one.extent), None if other is None else new.place(other.extent)
        yield Change("suite", name, words, name in used, *sizes, *places)


def concepts(pairs: Iterable[RulePair], old: Version, new: Version) -> Iterator[Change]:
    """Concepts that rules speak of, one for one; a concept that no rule uses means nothing by itself."""
    before = {concept.name: concept for concept in old.policy.concepts}
    after = {concept.name: concept for concept in new.policy.concepts}
    tied: dict[str, tuple[Concept, Concept]] = {
        name: (before[name], concept) for name, concept in after.items() if name in before
    }
    used: dict[str, None] = {}
    for pair in pairs:
        for one, other in concept_pairs(pair):
            used[other.name] = None
            if other.name not in before and one.name not in after:
                tied.setdefault(other.name, (one, other))
    for name, (one, other) in tied.items():
        place = _declaration_place(one.name, old), _declaration_place(name, new)
        for words, left, right in _concept(one, other):
            yield Change("concept", name, words, name in used, left, right, *place)
    for name in (each for each in after if each not in tied):
        yield Change("concept", name, "is new", False, None, after[name].meaning, None, _declaration_place(name, new))
    gone = before.keys() - {one.name for one, _ in tied.values()}
    for name in (each for each in before if each in gone):
        yield Change("concept", name, "is gone", False, before[name].meaning, None, _declaration_place(name, old), None)


def _concept(one: Concept, other: Concept) -> Iterator[tuple[str, str | None, str | None]]:
    """(what changed, before, after) of a concept; its name is what scores are handed over by."""
    if one.name != other.name:
        yield f"was `{one.name}`", one.name, other.name
    if one.meaning != other.meaning:
        yield "means something else", one.meaning, other.meaning
    if one.threshold != other.threshold:
        yield f"threshold {one.threshold:g} -> {other.threshold:g}", f"{one.threshold:g}", f"{other.threshold:g}"
    for word, before, after in (("like", one.like, other.like), ("unlike", one.unlike, other.unlike)):
        more, fewer = len(set(after) - set(before)), len(set(before) - set(after))
        if more or fewer:
            yield f"texts it is {word}: {more} new, {fewer} gone", str(len(before)), str(len(after))
    scorers = (one.scorer, one.scorer_argument), (other.scorer, other.scorer_argument)
    if scorers[0] != scorers[1]:
        said = ["none" if name is None else f'{name} "{asked or ""}"' for name, asked in scorers]
        yield f"scored by {said[0]} -> {said[1]}", said[0], said[1]
    if set(one.distinct_from) != set(other.distinct_from):
        yield "is distinct from other concepts", ", ".join(one.distinct_from), ", ".join(other.distinct_from)
    if set(one.cues) != set(other.cues):
        said = [", ".join(cue.lexicon for cue in each.cues) or "nothing" for each in (one, other)]
        changed = f"cued by {said[0]} -> {said[1]}" if said[0] != said[1] else f"what its cues `{said[0]}` hold"
        yield changed, said[0], said[1]


def _declaration_place(name: str, version: Version) -> Place | None:
    for item in version.compiled.module.items:
        if isinstance(item, ast.ConceptDecl) and item.name.text == name:
            return version.place(Extent(item.span.start, item.span.end))
    return None


# ---------------------------------------------------------------------------------------- what sentences are made of
_DECLARED: Mapping[type, Kind] = {
    ast.ParamDecl: "parameter",
    ast.LexiconDecl: "lexicon",
    ast.DefineDecl: "definition",
    ast.ImportDecl: "import",
    ast.RuleDecl: "template",
}


def declarations(old: Version, new: Version) -> Iterator[Change]:
    """Parameters, lexicons, definitions, rules with parameters, imports, the policy line.

    None of them means anything before a rule uses it: what they do to rules is told there.
    """
    before, after = _declared_in(old), _declared_in(new)
    for (kind, name), other in after.items():
        one = before.get((kind, name))
        said = None if one is None else _written(one), _written(other)
        if said[0] == said[1]:
            continue
        words = "is new" if one is None else _difference(one, other, old, new)
        places = None if one is None else old.place(_extent(one.span)), new.place(_extent(other.span))
        yield Change(kind, name, words, False, *said, *places)
    for (kind, name), one in before.items():
        if (kind, name) not in after:
            yield Change(kind, name, "is gone", False, _written(one), None, old.place(_extent(one.span)), None)
    header = ((old.policy.policy, old.policy.version), (new.policy.policy, new.policy.version))
    if header[0] != header[1]:
        said_of = tuple(" ".join(filter(None, each)) for each in header)
        yield Change("version", "policy", f"{said_of[0]} -> {said_of[1]}", False, said_of[0], said_of[1])


def changed_names(told: Iterable[Change], new: Version) -> frozenset[str]:
    """What sentences can name that changed: these declarations, and definitions and lexicons that are made of them."""
    names = {change.about for change in told if change.kind in _DECLARED.values()}
    for (_, name), item in _declared_in(new).items():  # each is made of those above it
        if any(isinstance(node, ast.Path) and node.text in names for node in ast.walk(item)):
            names.add(name)
    return frozenset(names)


def _declared_in(version: Version) -> dict[tuple[Kind, str], ast.Item]:
    found: dict[tuple[Kind, str], ast.Item] = {}
    for item in version.compiled.module.items:
        kind = _DECLARED.get(type(item))
        if kind is None or (isinstance(item, ast.RuleDecl) and item.parameters is None):
            continue
        found[kind, item.name.text] = item  # type: ignore[union-attr]
    return found


def _written(item: ast.Item) -> str:
    """A declaration on one line, without its comments and layout."""
    return " ".join(to_text(ast.Module(None, (item,), item.span)).split())


def _difference(one: ast.Item, other: ast.Item, old: Version, new: Version) -> str:
    if isinstance(one, ast.LexiconDecl) and isinstance(other, ast.LexiconDecl):
        before, after = _entries(one, old), _entries(other, new)
        if before != after:
            more = [f"+ {text}" for text in sorted((after - before).elements())]
            fewer = [f"- {text}" for text in sorted((before - after).elements())]
            return _listed([*more, *fewer])
    if isinstance(one, ast.ParamDecl) and isinstance(other, ast.ParamDecl):
        said = old.words(_extent(one.default.span)), new.words(_extent(other.default.span))
        if said[0] != said[1]:
            return f"{said[0]} -> {said[1]}"
    return "is written in another way"


def _entries(lexicon: ast.LexiconDecl, version: Version) -> Counter[str]:
    parts = (node for node in ast.walk(lexicon.value) if isinstance(node, (ast.Text, ast.Pattern, ast.Path)))
    return Counter(version.words(_extent(node.span)) for node in parts)


def _listed(words: list[str], most: int = 8) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _extent(span: Span) -> Extent:
    return Extent(span.start, span.end)


# ---------------------------------------------------------------------------------------------------------- headings
def moved(pairs: Iterable[RulePair], old: Version, new: Version) -> Iterator[Change]:
    """Rules that stand below another heading now; on which line they stand makes no difference."""
    before, after = _headings(old), _headings(new)
    if not before or not after:
        return
    for pair in pairs:
        if not pair.old or not pair.new:
            continue
        one, other = _section(pair.old[0], before, old), _section(pair.new[0], after, new)
        if one is None or other is None or _key(one) == _key(other):
            continue
        places = old.place(pair.old[0].rule_extent), new.place(pair.new[0].rule_extent)
        said = _called(one), _called(other)
        yield Change("rule moved", pair.name, f"stood below {said[0]}, stands below {said[1]}", False, *said, *places)


NOWHERE = Heading(0, 0, "")


def _headings(version: Version) -> tuple[Heading, ...]:
    document = version.compiled.source.document
    return () if document is None else headings(document)


def _section(rule: Regulator, found: tuple[Heading, ...], version: Version) -> Heading | None:
    """The heading that a rule stands below; of a heading that carries the rule's own name, the one around it.

    None for a rule of another file.
    """
    start = rule.rule_extent.start
    if not version.compiled.source.whole.start <= start <= version.compiled.source.whole.end:
        return None
    around: list[Heading] = []
    for heading in found:
        if heading.start > start:
            break
        around = [each for each in around if each.depth < heading.depth] + [heading]
    if around and around[-1].anchor == rule.rule:
        around.pop()
    return around[-1] if around else NOWHERE


def _key(heading: Heading) -> str:
    return heading.anchor or heading.title


def _called(heading: Heading) -> str:
    return "no heading" if heading is NOWHERE else f'"{heading.title}"'
