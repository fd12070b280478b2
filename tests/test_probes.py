"""Probes made without a model: each is about what it claims, and what is searched with is not measured with."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from random_policies import Writer

from bylaw.compiler.evaluate import Verdict, evaluate_term, truth
from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
from bylaw.runtime.audit.transcripts import read_prompts
from bylaw.runtime.probes.answers import breaking, keeping
from bylaw.runtime.probes.conditions import situations_meeting
from bylaw.runtime.probes.conflicts import pulls
from bylaw.runtime.probes.make import Made, Material, Settings, make
from bylaw.runtime.probes.parting import families, parted
from bylaw.runtime.probes.probe import Probe, ProbeError, aims_of, before_the_answer, root_of, standing
from bylaw.runtime.probes.templates import VARIABLES, TemplateProblem, built_in, template_of, templates_in
from bylaw.runtime.probes.variants import VARIANTS, variants_of
from bylaw.spec.expression import Fact, MessageText
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

EXAMPLES = Path(__file__).parents[1] / "examples"
HEAD = 'policy fernhill.desk version "1.0.0" edition 1\nlevels root > system > guideline\n'


def compiled(text: str) -> Compiled:
    found = compile_source(Source("rules.bylaw", HEAD + text))
    assert found.ok, found.diagnostics
    return found


def made_of(found: Compiled, given: tuple[Trace, ...] = (), **settings: object) -> Made:
    assert found.regulators is not None
    return make(Material(found.regulators, found.require(), given=given), Settings(**settings))  # type: ignore[arg-type]


DESK = """
rule dates "Dates are promised by people" at system {
  when prompt mentions any of ["lamp", "kettle", "clock"]
  must not mention any of ["tomorrow", "on Friday"]
  complies { user "My lamp is broken." assistant "A colleague will look at it." }
}
rule vip "Members get a greeting" at guideline {
  when meta.member and not prompt contains "hurry"
  should start with "Good day"
}
rule brief "Short answers" at guideline {
  should have at most 5 words
}
rule long_story "The story is told in full" at guideline {
  when prompt mentions "story"
  should have at least 20 words
}
"""


# ------------------------------------------------------------------------------------------- every probe does its claim
def test_every_probe_meets_the_conditions_that_it_claims() -> None:
    """By the evaluator on the parts of the condition, and not by what the probes were checked with."""
    for name in ("support", "agents", "constitution", "over_refusal"):
        path = next(EXAMPLES.joinpath(name).glob("*.bylaw*"))
        found = compile_file(path)
        program = found.require()
        aims = {aim.name: aim for aim in aims_of(program.terms)}
        made = made_of(found, per_rule=4, variants=3, pairs=4)
        for probe in made.probes:
            assert probe.messages[-1].role == "user"
            if probe.relation:
                continue
            for part in (part for aim in probe.aims for part in before_the_answer(aims[aim].term)):
                assert truth(part, probe.trace) is True, (probe, part)  # type: ignore[arg-type]
        covered = {aim for probe in made.probes for aim in probe.aims if not probe.relation}
        assert covered | {aim for aim, _ in made.left_out} == set(aims)
        assert len({probe.id for probe in made.probes}) == len(made.probes)


def test_a_condition_is_met_in_each_of_its_ways() -> None:
    made = made_of(compiled(DESK), rules=("dates",), per_rule=12, variants=0, pairs=0)
    prompts = [probe.text for probe in made.probes if probe.lean == "neutral" and not probe.template]
    assert all(any(re.search(rf"\b{word}\b", text) for text in prompts) for word in ("lamp", "kettle", "clock"))
    assert "My lamp is broken." in prompts  # the author's own


def test_what_only_facts_and_a_negation_ask_for() -> None:
    made = made_of(compiled(DESK), rules=("vip",), pairs=0)
    assert made.probes
    assert all(probe.facts["meta.member"] is True and "hurry" not in probe.text for probe in made.probes)


def test_a_variant_that_loses_the_condition_is_dropped_and_counted() -> None:
    found = compiled('rule codes at system { when prompt contains /[A-Z]{3}-[0-9]/ must not contain "no" }')
    made = made_of(found, variants=11, pairs=0)
    names = {probe.variant for probe in made.probes}
    assert "upper_case" in names
    assert "lower_case" not in names
    assert dict(made.dropped)["`codes`: the condition of the rule is false here"] >= 8


CONCEPT = """
concept angry means "The customer is angry."%s
rule calm at system { when prompt expresses angry must not contain "!" }
rule mild at system { when prompt contains /[a-z]+@/ must not contain "?" }
"""


def test_a_condition_that_hangs_on_a_score_is_met_by_what_its_author_labelled_and_by_no_guess() -> None:
    known = compiled(CONCEPT % ' { like "This is an outrage." unlike "Good morning." }')
    made = made_of(known, pairs=0)
    assert {probe.text for probe in made.probes if "calm" in probe.aims} == {"This is an outrage."}
    bare = made_of(compiled(CONCEPT % ""), pairs=0)
    ((name, reason),) = bare.left_out
    assert name == "calm"
    assert "score" in reason
    assert any("mild" in probe.aims for probe in bare.probes)


def test_a_condition_that_nothing_meets_leaves_its_rule_out_with_the_proof() -> None:
    never = 'rule no_time at system { when meta.n > 3 and meta.n < 2 must not contain "a" }'
    found = compiled(never + ' rule one at system { must not contain "b" }')
    assert made_of(found, pairs=0).left_out == (("no_time", "no situation meets the condition: that is proved"),)
    with pytest.raises(ProbeError, match="no probe can be made: `no_time`"):
        made_of(found, rules=("no_time",), pairs=0)


def test_prompts_of_users_are_taken_where_they_meet_the_condition() -> None:
    traces = tuple(
        Trace((Message("user", text),), {"meta.id": "7"}) for text in ("The kettle hums.", "The mower hums.")
    )
    made = made_of(compiled(DESK), traces, rules=("dates",), variants=0, pairs=0)
    given = {probe.text for probe in made.probes if probe.origin == "given"}
    assert given == {"The kettle hums."}


def test_a_rule_that_there_is_not() -> None:
    with pytest.raises(ProbeError, match="no rule called `date`; did you mean `dates`"):
        made_of(compiled(DESK), rules=("date",))


def test_the_same_seed_gives_the_same_probes_and_another_seed_others() -> None:
    found = compiled(DESK)
    one, two, other = (made_of(found, seed=seed) for seed in (3, 3, 4))
    assert one == two
    assert {probe.id for probe in one.probes} != {probe.id for probe in other.probes}


# ------------------------------------------------------------------------------------------------------- situations
def test_situations_of_random_conditions_meet_them() -> None:
    """And what is proved to have none is true in no conversation that is tried."""
    counts: Counter[str] = Counter()
    for seed in range(100):
        writer = Writer(f"probes {seed}", (MessageText("prompt"), MessageText("system"), Fact("meta.kind")), facts=True)
        whole = writer.truth()
        found = situations_meeting((whole,), random.Random(seed), 2)
        for trace in found.found:
            assert truth(whole, trace) is True
            assert not trace.scores
        if found.is_proved_empty:
            assert not any(truth(whole, writer.trace()) is True for _ in range(30))
        counts["found" if found.found else "empty" if found.is_proved_empty else "open"] += 1
    assert counts["found"] > 60, counts
    assert counts["empty"] > 5, counts


def test_answers_that_break_and_keep_are_weighed_by_the_evaluator() -> None:
    found = compile_file(EXAMPLES / "support" / "rules.bylaw")
    assert found.regulators is not None
    draw, count = random.Random(5), 0
    for term in found.require().terms:
        bare = replace(term, condition=None)
        for answers, verdict in ((breaking, Verdict.VIOLATED), (keeping, Verdict.SATISFIED)):
            for text in answers(term, found.regulators.examples, draw, 4):
                assert evaluate_term(bare, Trace(()).answered(text)).verdict is verdict
                count += 1
    assert count > 30


def test_an_example_of_a_rule_breaks_only_those_of_its_sentences_that_it_breaks() -> None:
    found = compiled("""
rule two at system {
  must not contain "lamp"
  must not contain "kettle"
  violates "A kettle, then."
}
""")
    assert found.regulators is not None
    lamp, kettle = found.require().terms
    assert "A kettle, then." not in breaking(lamp, found.regulators.examples, random.Random(0), 3)
    assert breaking(kettle, found.regulators.examples, random.Random(0), 3)[0] == "A kettle, then."
    made = made_of(found, rules=(kettle.id,), pairs=0)
    assert {aim for probe in made.probes for aim in probe.aims} == {"two"}  # one condition, so one aim


def test_sentences_with_different_conditions_are_aims_of_their_own() -> None:
    found = compiled("""
rule greets at system {
  when prompt contains "morning" must contain "Good morning"
}
rule two at system {
  limit response contains "no" to at most 5% of responses
  limit response contains "never" to at most 5% of responses over suite few
}
suite few = ["May I come in?", "Is it open?"]
""")
    names = [aim.name for aim in aims_of(found.require().terms)]
    assert names == ["greets", *(term.id for term in found.require().terms if term.rule == "two")]
    assert len(set(names)) == 3
    made = made_of(found, pairs=0, variants=2)
    about_suite = [probe for probe in made.probes if names[2] in probe.aims]
    assert {probe.text for probe in about_suite} == {"May I come in?", "Is it open?"}
    assert [aim.name for aim in aims_of(found.require().terms, (names[2],))] == [names[2]]


@pytest.mark.parametrize(
    ("prompt", "facts", "status"),
    [
        ("My lamp.", {}, "yes"),
        ("My shelf.", {}, "no"),
    ],
)
def test_standing(prompt: str, facts: Mapping[str, bool], status: str) -> None:
    term = compiled(DESK).require().terms[0]
    assert standing(term, Trace((Message("user", prompt),), dict(facts))).status == status


def test_standing_hangs_on_facts_and_on_the_answer() -> None:
    vip = compiled(DESK).require().terms[1]
    hello = Trace((Message("user", "Hello."),))
    assert standing(vip, hello).status == "unknown"
    assert "meta.member" in standing(vip, hello).reason
    term = compiled('rule one at system { when response contains "a" must not contain "b" }').require().terms[0]
    assert standing(term, hello).status == "answer"


# ------------------------------------------------------------------------------------------------------ the two sets
def test_nothing_is_in_both_sets_and_the_rules_are_parted_evenly() -> None:
    made = made_of(compiled(DESK), per_rule=10, variants=3)
    sides: dict[str, set[str | None]] = {}
    for probe in made.probes:
        for key in (*probe.roots, root_of(probe.text), probe.family):
            sides.setdefault(key, set()).add(probe.part)
    assert all(len(parts) == 1 for parts in sides.values())
    for aim in ("dates", "vip", "brief", "long_story"):
        counts = Counter(p.part for p in {q.family: q for q in made.probes if aim in q.aims}.values())
        assert abs(counts["search"] - counts["estimation"]) <= 2, (aim, counts)


def _bare(text: str, *roots: str, aim: str = "a", part: str | None = None) -> Probe:
    return Probe((Message("user", text),), (aim,), "given", roots or (root_of(text),), part=part)  # type: ignore[arg-type]


def test_families_hang_together_by_any_root() -> None:
    probes = [
        _bare("one", "r1"),
        _bare("two", "r1", "r2"),
        _bare("three", "r2"),
        _bare("four", "r4"),
        _bare("ONE!", "r5"),
    ]
    names = families(probes)
    assert names[0] == names[1] == names[2] == names[4] != names[3]


@pytest.mark.parametrize(("share", "expected"), [(0.0, {"estimation"}), (1.0, {"search"})])
def test_all_in_one_set(share: float, expected: set[str]) -> None:
    assert {probe.part for probe in parted([_bare(str(n)) for n in range(9)], share, 0)} == expected


def test_what_was_tried_takes_its_family_to_the_search_set() -> None:
    probes = [_bare("a", "r1", part="estimation"), _bare("b", "r1", part="search"), _bare("c", "r3", part="estimation")]
    assert [probe.part for probe in parted(probes, 0.5, 0)] == ["search", "search", "estimation"]
    assert [probe.part for probe in parted(probes[::-1], 0.5, 0)] == ["estimation", "search", "search"]


def test_a_seed_parts_by_chance() -> None:
    """40 families: another seed moves about half of them; under 6 or over 34 would come once in 10^5 runs."""
    probes = [_bare(f"prompt {number}") for number in range(40)]
    one, other = (parted(probes, 0.5, seed) for seed in (0, 1))
    assert Counter(probe.part for probe in one) == {"search": 20, "estimation": 20}
    assert 6 <= sum(p.part != q.part for p, q in zip(one, other, strict=True)) <= 34


# ---------------------------------------------------------------------------------------------------------- variants
def test_every_variant_says_something_else_and_keeps_the_words() -> None:
    text = "My lamp is broken. Can you mend it before Friday?"
    for name, variant in VARIANTS.items():
        made = variant(text, random.Random(1))
        assert made != text, name
        if name != "slips":
            assert root_of(text) == root_of(made) or "lamp is broken" in made.casefold(), name
    assert len(variants_of(text, random.Random(2), 3)) == 3
    assert variants_of(text, random.Random(2), 3) == variants_of(text, random.Random(2), 3)
    assert variants_of("", random.Random(2), 11) == [
        (name, other) for name, other in variants_of("", random.Random(2), 11) if other.strip()
    ]


# --------------------------------------------------------------------------------------------------------- templates
def test_the_built_in_templates_cover_all_leans_and_grow_harder() -> None:
    found = built_in()
    assert {each.lean for each in found} == {"neutral", "break", "keep"}
    assert {each.difficulty for each in found if each.lean == "break"} == {2, 3, 4, 5}
    values = dict.fromkeys(VARIABLES, "WORDS")
    assert all(each.render(values).startswith("WORDS") for each in found)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ text.__class__ }}", "unsafe"),
        ("{{ text.upper() }}", "line 1: it calls something"),
        ("{{ range(9) }}", "line 1: it calls something"),
        ("{% include 'x' %}", "line 1: it uses another template"),
        ("{{ text * 999999999 }}", "could make a text of any size"),
        ("{{ '%99999999d' % 3 }}", "could make a text of any size"),
        ("{{ secret }}", "reads `secret`, which there is not"),
        ("a\n{{ text", "line 2"),
        ("{{ text|attr('x') }}", "No filter named 'attr'"),
        ("{# lean: harsh #}{{ text }}", "`lean: harsh` is neither"),
        ("{# difficulty: 9 #}{{ text }}", "`difficulty: 9` is neither"),
        ("{% for a in text %}{{ text }}{% endfor %}", "makes more than"),
    ],
)
def test_a_template_that_cannot_be_used(source: str, message: str) -> None:
    with pytest.raises(TemplateProblem, match=re.escape(message)):
        template_of("mine", source).render({"text": "x" * 200})


def test_text_in_a_prompt_is_never_a_template(tmp_path: Path) -> None:
    tmp_path.joinpath("mine.jinja").write_text("{# lean: keep #}Now: {{ text }}", encoding="utf-8")
    (mine,) = templates_in(tmp_path)
    assert mine.render({"text": "{{ 7 * 7 }}"}) == "Now: {{ 7 * 7 }}"
    assert (mine.lean, mine.difficulty) == ("keep", 1)


def test_a_folder_without_templates(tmp_path: Path) -> None:
    with pytest.raises(TemplateProblem, match="no template"):
        templates_in(tmp_path)
    with pytest.raises(TemplateProblem, match="not a folder"):
        templates_in(tmp_path / "x")


# --------------------------------------------------------------------------------------------------------- conflicts
def test_pairs_that_pull_apart_get_neutral_and_leaning_prompts() -> None:
    found = compiled(DESK)
    made = made_of(found, pairs=20, variants=0)
    pair = [probe for probe in made.probes if probe.aims == ("brief", "long_story")]
    assert {probe.lean for probe in pair} == {"neutral", "first", "second"}
    assert {probe.relation for probe in pair} == {"contradict"}
    assert all("story" in probe.text for probe in pair)  # where both are in force


def test_pairs_are_proved_and_their_answers_do_what_they_say() -> None:
    text = """
rule calm at system { must not contain "!" }
rule silent at system { must not contain /[!?]/ }
rule loud at guideline { when prompt contains "loud" should contain "!" weight 1 }
rule day at system { when meta.day == "today" must not contain "now" }
rule night at system { when meta.day == "later" must not contain "then" }
"""
    program = compiled(text).require()
    found = {(p.first.id, p.second.id): p for p in pulls(program.terms, program.levels, random.Random(0), 20)}
    found |= {(p.second.id, p.first.id): p for p in found.values()}
    assert ("day", "night") not in found  # never in force together
    pull = found["calm", "silent"]
    assert not (pull.for_first if pull.first.id == "silent" else pull.for_second)  # silent implies calm
    for pull in found.values():
        for texts, kept, broken in (
            (pull.for_first, pull.first, pull.second), (pull.for_second, pull.second, pull.first),
        ):  # fmt: skip
            for answer in texts:
                trace = Trace(()).answered(answer)
                assert evaluate_term(replace(kept, condition=None), trace).verdict is Verdict.SATISFIED
                assert evaluate_term(replace(broken, condition=None), trace).verdict is Verdict.VIOLATED


# ------------------------------------------------------------------------------------------------------------- files
def test_a_policy_takes_accepted_probes_as_a_suite(tmp_path: Path) -> None:
    from bylaw.runtime.probes.files import accepted, read_folder, reviewed, write_folder, write_suite

    settings = Settings(pairs=2)
    found = compiled(DESK)
    made = made_of(found, pairs=2)
    write_folder(tmp_path / "probes", made, settings, {"policy": "fernhill.desk"})
    folder = read_folder(tmp_path / "probes")
    assert [line.probe.id for line in folder.lines if not line.is_edited] == [
        probe.id for part in ("search", "estimation") for probe in made.probes if probe.part == part
    ]
    folder = reviewed(folder, dict.fromkeys((line.name for line in folder.lines), "accepted"))
    write_suite(tmp_path / "suite.jsonl", accepted(folder, "estimation", ("neutral",)))
    read = read_prompts(tmp_path / "suite.jsonl")
    assert not read.problems
    assert {trace.facts["meta.probe.lean"] for trace in read.traces} == {"neutral"}
    rules = tmp_path / "rules.bylaw"
    limit = 'limit response contains "no" to at most 5% of responses over suite probes'
    rules.write_text(
        HEAD + f'suite probes = file "suite.jsonl"\nrule seldom at system {{ {limit} }}\n', encoding="utf-8"
    )
    again = compile_file(rules)
    assert again.regulators is not None
    assert set(again.regulators.suites[0].prompts) == {trace.text("prompt") for trace in read.traces}
