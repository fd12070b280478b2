"""The stage of making probes in which a model writes: situations, prompts for them, pairs of rules, paraphrases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bylaw.runtime.probes.conflicts import Pull
from bylaw.runtime.probes.make import Bench
from bylaw.runtime.probes.probe import HARDEST, Aim, Lean, Origin, Probe, Set, root_of
from bylaw.runtime.probes.search import Answerer, search
from bylaw.runtime.probes.writer import Task, Writer
from bylaw.spec.trace import Message, Trace

_MEETING = 3
_LEANS: tuple[Lean, ...] = ("neutral", "first", "second")


@dataclass(frozen=True, slots=True)
class Writing:
    """How much a model writes: `scenarios` for each rule (and one for each pair), `prompts` for each scenario,
    `paraphrases` of each prompt that was made without it.

    With `target`, the model under test, the difficulty is searched for in `rounds`, with the scenarios of the search
    set only; the prompts for the others are then written at the difficulty that the search settled on, and nothing is
    sent to the model under test from them.
    """

    writer: Writer
    scenarios: int = 4
    prompts: int = 3
    paraphrases: int = 0
    target: Answerer | None = None
    rounds: int = 4

    def __call__(self, bench: Bench, progress: Callable[[int, int], None]) -> None:
        """Raises JudgeError where a model cannot be asked at all; a question that fails is noted, the rest goes on."""
        roots = [probe for aim in bench.aims for probe in bench.roots.get(aim.name, ())]
        aims = [aim for aim in bench.aims if bench.situations[aim.name].found]
        words = [(bench.material.words.get(aim.rule, aim.rule), "") for aim in aims]
        written = self.writer.scenarios(words, self.scenarios) if self.scenarios else ()
        for number, (aim, found) in enumerate(zip(aims, written, strict=bool(written)), 1):
            if found.problem:
                bench.failed.append(f"situations for `{aim.name}`: {found.problem}")
            else:
                _of_aim(self, bench, aim, found.texts)
            progress(number, len(aims))
        if self.scenarios:
            _of_pairs(self, bench)
        if self.paraphrases:
            _paraphrased(self, bench, roots)
        bench.cost = self.writer.cost


# --------------------------------------------------------------------------------------------------------- one rule
def _of_aim(how: Writing, bench: Bench, aim: Aim, scenarios: Sequence[str]) -> None:
    searching, measuring = _split(bench, scenarios) if how.target is not None else ((), tuple(scenarios))
    difficulty: int | None = None
    if how.target is not None and searching:
        found = search(aim, _maker(how, bench, aim, searching), how.target, how.rounds, bench.material.scored)
        bench.searched.append(found)
        bench.probes += [each.probe for each in found.tried]
        difficulty = found.difficulty
    tasks = [
        replace(_task(bench, aim, scenario), difficulty=difficulty or 1 + number % HARDEST)
        for number, scenario in enumerate(measuring)
    ]
    part: Set | None = None if how.target is None else "estimation"
    bench.add(replace(each, part=part) for each in _written(how, bench, (aim.name,), tasks))


def _split(bench: Bench, scenarios: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(scenarios to search with, scenarios to measure with), by chance; with two or more there is one of each."""
    settings = bench.settings
    order = sorted(scenarios, key=lambda each: hashlib.sha256(f"{settings.seed}\0{each}".encode()).digest())
    count = min(max(1, round(settings.search_share * len(order))), len(order) - 1)
    return tuple(order[:count]), tuple(order[count:])


def _maker(
    how: Writing, bench: Bench, aim: Aim, scenarios: Sequence[str]
) -> Callable[[int, int, Sequence[str], Sequence[str]], Sequence[Probe]]:
    """What makes the prompts of one round of a search: those that were tried before are not tried again."""
    seen: set[str] = set()

    def make(number: int, difficulty: int, broke: Sequence[str], kept: Sequence[str]) -> Sequence[Probe]:
        tasks = [
            replace(_task(bench, aim, each), difficulty=difficulty, broke=tuple(broke), kept=tuple(kept), epoch=number)
            for each in scenarios
        ]
        probes = bench.add(_written(how, bench, (aim.name,), tasks), is_kept=False)
        fresh = {each.id: replace(each, part="search") for each in probes if each.id not in seen}
        seen.update(fresh)
        return list(fresh.values())

    return make


def _task(bench: Bench, aim: Aim, scenario: str) -> Task:
    """What is asked of the model: prompts that meet the condition are shown where it asks anything of the prompt."""
    situations = bench.situations[aim.name].found
    is_about_words = any(each.role == "user" for trace in situations for each in trace.messages)
    known = tuple(each.text for each in bench.roots.get(aim.name, ())) if is_about_words else ()
    return Task(bench.material.words.get(aim.rule, aim.rule), scenario, meeting=known[:_MEETING])


def _written(
    how: Writing, bench: Bench, names: tuple[str, ...], tasks: Sequence[Task], situations: Sequence[Trace] = (),
    origin: Origin = "generator", relation: str = "",
) -> list[Probe]:  # fmt: skip
    """The prompts of tasks; what does not meet the condition is asked for once more. What still does not is handed on
    with the others, so that the check counts it."""
    situations = situations or bench.situations[names[0]].found

    def probes(asked: Sequence[Task]) -> list[tuple[Task, Probe]]:
        found = []
        for number, (task, written) in enumerate(zip(asked, how.writer.prompts(asked, how.prompts), strict=True)):
            if written.problem:
                bench.failed.append(f"prompts for {' and '.join(f'`{name}`' for name in names)}: {written.problem}")
            situation = situations[number % len(situations)]
            lean: Lean = task.lean if relation else "neutral" if task.difficulty == 1 else "break"
            for text in written.texts:
                probe = _of_text(text, names, situation, (root_of(task.scenario), root_of(text)), origin)
                found.append((task, replace(probe, lean=lean, difficulty=task.difficulty, relation=relation)))
        return found

    first = probes(tasks) if tasks else []
    good = [probe for _, probe in first if not isinstance(bench.check(probe), str)]
    again = []
    for task in tasks:
        failed = tuple(p.text for own, p in first if own is task and isinstance(bench.check(p), str))
        again += [replace(task, failed=failed[:_MEETING])] if failed else []
    return good + ([probe for _, probe in probes(again)] if again else [])


def _of_text(text: str, names: tuple[str, ...], situation: Trace, roots: tuple[str, ...], origin: Origin) -> Probe:
    """A prompt in a situation: its system message and its facts, and the text as what the user says."""
    before = tuple(each for each in situation.messages if each.role in ("system", "developer"))
    return Probe((*before, Message("user", text)), names, origin, roots, dict(situation.facts))


# ---------------------------------------------------------------------------------------------- pairs, paraphrases
def _of_pairs(how: Writing, bench: Bench) -> None:
    """For each pair one scenario, and for it neutral prompts and prompts that lean to either side."""
    words = [_words_of(bench, pull) for pull in bench.pulls]
    for pull, (one, other), found in zip(bench.pulls, words, how.writer.scenarios(words, 1), strict=True):
        names = (pull.first.id, pull.second.id)
        if found.problem:
            bench.failed.append(f"situations for `{names[0]}` and `{names[1]}`: {found.problem}")
            continue
        tasks = [Task(one, scenario, 3, other, lean) for scenario in found.texts for lean in _LEANS]
        bench.add(_written(how, bench, names, tasks, pull.situations, "conflict", pull.relation))


def _words_of(bench: Bench, pull: Pull) -> tuple[str, str]:
    words = bench.material.words
    return words.get(pull.first.rule, pull.first.rule), words.get(pull.second.rule, pull.second.rule)


def _paraphrased(how: Writing, bench: Bench, roots: Sequence[Probe]) -> None:
    """Paraphrases of the prompts that were made without a model, each text asked for once."""
    texts = list(dict.fromkeys(probe.text for probe in roots))
    written = dict(zip(texts, how.writer.paraphrases(texts, how.paraphrases), strict=True))
    bench.failed += [f"paraphrases: {each.problem}" for each in written.values() if each.problem]
    bench.add(
        replace(probe.saying(text), variant="paraphrase", origin=probe.origin)
        for probe in roots
        for text in written[probe.text].texts
        if text != probe.text
    )
