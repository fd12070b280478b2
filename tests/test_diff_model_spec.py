"""`bylaw diff` on the published releases of a specification: rules added, removed, moved and at other levels.

The lists below were made by reading the headings of the releases, not from what the comparison says. A few lines of
their own read the headings again.
"""

import re
from functools import cache
from pathlib import Path

import pytest

from bylaw.compiler.changes import compare
from bylaw.compiler.changes.types import Kind, PolicyChanges
from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.importers import importer
from bylaw.compiler.importers.interface import Naming
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.spec.source import Source

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "model_spec"
FEBRUARY, APRIL, SEPTEMBER = "2025-02-12", "2025-04-11", "2025-09-12"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the published releases are not here")

# ------------------------------------------------------------------------- what a reader finds in April and September
NEW_HEADINGS = {
    "no_other_objectives", "scope_of_autonomy", "control_side_effects", "protect_privileged_information",
    "love_humanity", "be_responsible", "be_interesting_and_interested", "be_curious", "have_conversational_sense",
    "be_warm",
}  # fmt: skip
GONE_HEADINGS = {"protect_privileged_messages", "be_empathetic", "be_kind", "be_engaging"}
# Sections under a new heading whose example conversations are those of an old one.
SUCCESSORS = {
    "protect_privileged_information": "protect_privileged_messages",
    "love_humanity": "be_kind",
    "have_conversational_sense": "be_engaging",
}
TO_SYSTEM = {"comply_with_laws", "no_erotica_or_gore", "use_preset_voice_in_voice_mode"}
TO_ROOT = {
    "follow_all_applicable_instructions", "letter_and_spirit", "assume_best_intentions", "ignore_untrusted_data",
    "sexual_content_involving_minors", "avoid_info_hazards", "avoid_targeted_political_manipulation",
    "respect_creators", "protect_privacy", "avoid_extremist_content", "avoid_hateful_content",
    "transformation_exception", "prevent_imminent_harm", "do_not_facilitate_illicit_behavior",
    "do_not_encourage_self_harm", "uphold_fairness",
}  # fmt: skip
# The chapter `approachable` was dissolved into `style`.
MOVED = {"be_rationally_optimistic", "do_not_make_unprompted_personal_comments", "avoid_being_condescending"}
NEW_TITLES = {"ask_clarifying_questions", "refusal_style"}


@cache
def text_of(release: str) -> str:
    return (FOLDER / f"model_spec.{release}.md").read_text(encoding="utf-8")


@cache
def release_of(release: str) -> Compiled:
    imported = importer("model-spec").read(text_of(release), Naming(f"spec.{release}"))
    return compile_source(Source.of(f"spec.{release}.bylaw.md", imported.text))


@cache
def diff(old: str, new: str) -> PolicyChanges:
    return compare(release_of(old), release_of(new))


def headings(release: str) -> dict[str, tuple[str, str, str | None]]:
    """By anchor, of sections with an authority: the authority, the title, the anchor of the section around."""
    found: dict[str, tuple[str, str, str | None]] = {}
    around: dict[int, str] = {}
    for line in text_of(release).splitlines():
        match = re.match(r"(#+) (.*) \{#(\w+)(?: authority=(\w+))?\}$", line)
        if match:
            depth = len(match[1])
            around = {at: anchor for at, anchor in around.items() if at < depth} | {depth: match[3]}
            if match[4]:
                parents = [anchor for at, anchor in sorted(around.items()) if at < depth]
                found[match[3]] = (match[4], match[2], parents[-1] if parents else None)
    return found


def about(found: PolicyChanges, kind: Kind) -> set[str]:
    return {change.about for change in found.changes if change.kind == kind}


# ----------------------------------------------------------------------------------------------------- the readings
def test_the_lists_are_those_of_the_headings() -> None:
    february, april, september = map(headings, (FEBRUARY, APRIL, SEPTEMBER))
    assert february == april
    assert set(september) - set(april) == NEW_HEADINGS
    assert set(april) - set(september) == GONE_HEADINGS
    both = set(april) & set(september)
    ways = {name: (april[name][0], september[name][0]) for name in both if april[name][0] != september[name][0]}
    assert {name for name, way in ways.items() if way == ("platform", "system")} == TO_SYSTEM
    assert {name for name, way in ways.items() if way == ("platform", "root")} == TO_ROOT
    assert len(ways) == len(TO_SYSTEM) + len(TO_ROOT) == 19
    assert {name for name in both if april[name][2] != september[name][2]} == MOVED
    assert {name for name in both if april[name][1] != september[name][1]} == NEW_TITLES


# ------------------------------------------------------------------------------------------------ April to September
def test_rules_that_came_and_went() -> None:
    found = diff(APRIL, SEPTEMBER)
    assert found.rules == (51, 57)
    assert about(found, "rule added") == NEW_HEADINGS - set(SUCCESSORS)
    assert about(found, "rule removed") == GONE_HEADINGS - set(SUCCESSORS.values())
    renamed = {change.about: change.old for change in found.changes if change.kind == "rule renamed"}
    assert renamed == SUCCESSORS
    assert all("examples are the same" in change.words for change in found.changes if change.kind == "rule renamed")


def test_rules_at_other_levels() -> None:
    found = diff(APRIL, SEPTEMBER)
    ways = {change.about: (change.old, change.new) for change in found.changes if change.kind == "level"}
    expected = dict.fromkeys(TO_SYSTEM, ("platform", "system")) | dict.fromkeys(TO_ROOT, ("platform", "root"))
    expected |= {
        "protect_privileged_information": ("platform", "root"),
        "have_conversational_sense": ("guideline", "user"),
    }
    assert ways == expected
    assert about(found, "rule word") == TO_SYSTEM  # only what stands at the strongest level is imported as `must`
    assert about(found, "levels") == {"levels"}


def test_rules_that_moved() -> None:
    found = diff(APRIL, SEPTEMBER)
    successors = {"love_humanity", "have_conversational_sense"}  # of sections of the dissolved chapter
    assert about(found, "rule moved") == MOVED | successors
    assert {(c.old, c.new) for c in found.changes if c.kind == "rule moved"} == {
        ('"Be approachable"', '"Use appropriate style"')
    }


def test_titles() -> None:
    assert about(diff(APRIL, SEPTEMBER), "title") == NEW_TITLES | set(SUCCESSORS)


# -------------------------------------------------------------------------------------------------- February to April
def test_a_release_that_changed_no_heading() -> None:
    found = diff(FEBRUARY, APRIL)
    assert found.rules == (51, 51)
    kinds = {change.kind for change in found.changes}
    assert kinds == {"concept", "examples", "version"}
    # Read in the two files side by side: a formula, the part about white lies, and a remark on some code are new.
    changed = {"breaks_do_not_facilitate_illicit_behavior", "breaks_do_not_lie", "breaks_avoid_overstepping"}
    assert about(found, "concept") == changed
    assert {each.answer.result for each in found.texts} == {"not decided"}
    assert {each.how for each in found.overall} == {"not decided"}
    assert {flip.found for flip in found.flips} == {"unscored"}  # their replies are no longer texts of the concept
    assert not found.is_same_meaning


# ----------------------------------------------------------------------------------------------------------- in general
@pytest.mark.parametrize("release", [FEBRUARY, APRIL, SEPTEMBER])
def test_a_release_does_not_differ_from_itself(release: str) -> None:
    found = diff(release, release)
    assert (found.changes, found.texts, found.flips) == ((), (), ())


def test_back_and_forth_say_the_opposite() -> None:
    there, back = diff(FEBRUARY, SEPTEMBER), diff(SEPTEMBER, FEBRUARY)
    assert about(there, "rule added") == about(back, "rule removed")
    assert about(there, "rule removed") == about(back, "rule added")
    levels = [{(c.old, c.new) for c in found.changes if c.kind == "level"} for found in (there, back)]
    assert levels[0] == {(new, old) for old, new in levels[1]}


@pytest.mark.parametrize(("old", "new"), [(FEBRUARY, APRIL), (APRIL, SEPTEMBER)])
def test_every_witness_is_one(old: str, new: str) -> None:
    programs = release_of(old).require(), release_of(new).require()
    shown = [each for each in diff(old, new).texts if each.answer.result == "witness" and each.strength == "hard"]
    assert bool(shown) == (new == SEPTEMBER)
    for change in shown:
        keeping, breaking = programs if change.direction == "forbidden" else programs[::-1]
        trace, broken = change.answer.trace, change.answer.breaks
        assert trace is not None
        assert broken is not None
        assert evaluate_term(breaking.term(broken.id), trace).verdict is Verdict.VIOLATED
        hard = [term for term in keeping.terms if term.kind == "hard"]
        assert not any(evaluate_term(term, trace).verdict in (Verdict.VIOLATED, Verdict.UNSCORED) for term in hard)
