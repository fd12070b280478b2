"""What the tests of the failure modes share: one small policy, audits of it, and the verdicts on conversations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from judge_server import JudgeServer
from sample_server import NAME

from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.runtime.audit.audit import audit, score
from bylaw.runtime.audit.inspect_export import write_inspect_log
from bylaw.runtime.audit.prompts import prompts_of
from bylaw.runtime.judges.budget import Meter
from bylaw.runtime.judges.judge import Judge
from bylaw.runtime.judges.wire import Endpoint
from bylaw.runtime.record import AuditRecord, TermAudit
from bylaw.runtime.running.endpoint import EndpointSampler
from bylaw.runtime.running.plan import Done, Plan, Sample
from bylaw.runtime.running.plan import prompts_of as asked_prompts
from bylaw.runtime.running.run import Job, bring_missing
from bylaw.runtime.running.store import RunStore, open_store
from bylaw.runtime.scorers.asking import score_traces
from bylaw.runtime.scorers.build import build, concepts_of
from bylaw.runtime.scorers.catalog import Making
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

HEADER = 'policy birchwood.lamps version "1.0.0" edition 1\n'
RULE = 'rule no_guarantee at user { response must not contain "guarantee" }'
JUDGED = """
concept blame means "Says that a problem is the customer's own fault." { scored by judge "Is the customer blamed?" }
rule kind at user { response must not express blame }
"""


def policy(rules: str = RULE) -> Compiled:
    """These rules as a policy."""
    return compile_source(Source("rules.bylaw", HEADER + rules + "\n"))


def said(response: str, prompt: str = "Where is my lamp?", name: str = "") -> Trace:
    return Trace((Message("user", prompt), Message("assistant", response)), id=name)


def record_of(traces: Sequence[Trace], compiled: Compiled | None = None, *, is_clustered: bool = False) -> AuditRecord:
    """The audit of these transcripts."""
    found = compiled or policy()
    clusters = prompts_of(traces) if is_clustered else None
    return audit(found.require(), traces, source="t.jsonl", policy=found.source, clusters=clusters)


def only(record: AuditRecord) -> TermAudit:
    (term,) = record.terms
    return term


def counts(term: TermAudit) -> tuple[int, int, int]:
    """(scored, violated, unscored) transcripts."""
    return term.applicable, term.violated, term.unscored


def inspect_log(place: Path, traces: Sequence[Trace], model: str | None = None) -> Path:
    """The audit of these transcripts as a log of Inspect."""
    terms = policy().require().terms
    scored = ((trace, [score(term, trace) for term in terms]) for trace in traces)
    return write_inspect_log(record_of(traces), traces, scored, place, model=model)


def json_lines(path: Path, objects: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in objects), encoding="utf-8")
    return path


# -------------------------------------------------------------------------------------------------------------- judges
def judged_by(asked: Judge, texts: Sequence[str], rules: str = JUDGED) -> AuditRecord:
    """The audit of these answers by a judge whose verdicts count, however good they are: nothing else is looked at."""
    compiled = policy(rules)
    concepts = concepts_of(compiled.require())
    scorers = build(concepts, Making(options={"judge": asked}, is_rough_allowed=True))
    traces, scoring = score_traces(compiled.require(), [said(text) for text in texts], scorers)
    return replace(record_of(traces, compiled), scoring=scoring.concepts)


# ------------------------------------------------------------------------------------------------------- runs of models
SETTINGS = {
    "kind": "endpoint", "place": "http://127.0.0.1/v1", "model": NAME, "temperature": 1.0, "max_tokens": 50,
    "stop": ["END"], "seed": 0,
}  # fmt: skip


def plan(*prompts: str, epochs: int = 1, **settings: Any) -> Plan:
    traces = [Trace((Message("user", text),), id=f"p{number}") for number, text in enumerate(prompts)]
    return Plan(asked_prompts(traces), epochs, {**SETTINGS, **settings})


@contextmanager
def stored(path: Path) -> Iterator[RunStore]:
    """The store of a run, closed at the end."""
    found = open_store(path)
    try:
        yield found
    finally:
        found.close()


def bring(wanted: Plan, store: RunStore, url: str, *, retries: int = 2) -> None:
    """One call of a run that never sleeps."""

    def way(store: RunStore, missing: Sequence[Sample], done: Done) -> Iterator[str]:
        endpoint = Endpoint(url, timeout=5.0, max_retries=retries, at_once=3)
        with EndpointSampler(endpoint, store, Meter(), wait=lambda _: None) as sampler:
            yield from sampler.bring(wanted, missing, done)

    bring_missing(Job(wanted, way), store, lambda _: None)


def texts_asked(at: JudgeServer) -> list[str]:
    return [str(body["messages"][-1]["content"]) for body in at.requests]
