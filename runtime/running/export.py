"""What a store of samples holds, as transcripts to audit and as a summary; the same bytes for the same samples.

A sample that came to nothing is a conversation without an answer: an audit counts it as unscored. Leaving it out would
make a model look better whose filter withholds what breaks the rules. Samples that were never asked for are left out,
and the summary says how many those are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bylaw.runtime.audit.conversation import messages_of
from bylaw.runtime.audit.inputs import TranscriptError, Transcripts
from bylaw.runtime.judges.store import Answer, StoreError
from bylaw.runtime.record import InputProblem
from bylaw.runtime.running.endpoint import spoken
from bylaw.runtime.running.plan import Plan, RunningError, Sample
from bylaw.runtime.running.store import Failure, RunStore, open_store
from bylaw.spec.fixes import write_atomically
from bylaw.spec.trace import FactValue, Trace


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run stands: counts of samples.

    `planned` = `answered` + the sum of `failed` (by class of reasons) + `missing` (never brought to an end). `cut`: of
    the answered, those that ended at their limit of tokens. `retried`: of the answered, those that took more than one
    attempt, in this run or before; `retries`: all attempts that brought nothing. `models`: what the server says that it
    ran, with counts. Tokens are those of all attempts; `reasons` are the most frequent ones of the failed.
    """

    planned: int
    answered: int
    failed: dict[str, int]
    missing: int
    cut: int
    retried: int
    retries: int
    tokens_in: int
    tokens_out: int
    models: dict[str, int]
    reasons: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every sample has an answer."""
        return self.answered == self.planned


@dataclass(frozen=True)
class Holding:
    """What a store holds at one moment, in the order of its plan."""

    plan: Plan
    answers: dict[str, Answer]
    failures: dict[str, Failure]
    attempts: dict[str, tuple[int, int, int]]

    def is_retried(self, key: str) -> bool:
        """Whether the answer came only after attempts that brought none."""
        return key in self.attempts or self.answers[key].attempts > 1


def holding(store: RunStore) -> Holding:
    """Reads a store. Raises RunningError where nothing was begun in it, StoreError where it cannot be read."""
    plan = store.plan()
    if plan is None:
        raise RunningError(f"nothing was asked for yet in `{store.path}`")
    answers = store.answers([sample.key for sample in plan.samples])
    failures = {key: failure for key, failure in store.failures().items() if key not in answers}
    return Holding(plan, answers, failures, store.attempts_failed())


def summary(held: Holding) -> Summary:
    """How a run stands."""
    keys = [sample.key for sample in held.plan.samples]
    answered = [held.answers[key] for key in keys if key in held.answers]
    failures = [held.failures[key] for key in keys if key in held.failures]
    known = set(keys)
    attempts = [counts for key, counts in held.attempts.items() if key in known]
    reasons = Counter(f"{failure.why}: {failure.reason}" for failure in failures)
    return Summary(
        len(keys),
        len(answered),
        dict(sorted(Counter(failure.why for failure in failures).items())),
        len(keys) - len(answered) - len(failures),
        sum(answer.finish_reason == "length" for answer in answered),
        sum(key in held.answers and held.is_retried(key) for key in keys),
        sum(count for count, _, _ in attempts),
        sum(answer.tokens_in for answer in answered) + sum(tokens for _, tokens, _ in attempts),
        sum(answer.tokens_out for answer in answered) + sum(tokens for _, _, tokens in attempts),
        dict(sorted(Counter(answer.model for answer in answered if answer.model).items())),
        tuple(f"{words} ({count})" for words, count in reasons.most_common(5)),
    )


def lines(held: Holding, *, first_try_only: bool = False) -> Iterator[str]:
    """The transcripts, one JSON object a line without its break.

    Facts of the prompt stand under their names; those below `meta.sample` are the model as it was asked for (one in
    this process by the digest of its files), the number of the prompt and of the repeat (from 1), `finish_reason`, and
    for a sample without an answer `why` and `reason`. Nothing in it depends on when, where or how often something was
    asked. With `first_try_only` answers that took several attempts are left out.
    """
    for sample, name in zip(held.plan.samples, held.plan.names, strict=True):
        answer, failure = held.answers.get(sample.key), held.failures.get(sample.key)
        if (answer is None and failure is None) or (
            first_try_only and answer is not None and held.is_retried(sample.key)
        ):
            continue
        prompt = held.plan.prompts[sample.prompt]
        messages: list[dict[str, Any]] = [dict(each) for each in prompt.messages]
        if answer is not None:
            messages.append(_message(answer))
        data = {"id": name, "messages": messages, **_facts(held, sample)}
        # half a surrogate pair cannot be written; in JSON the escape means the same
        yield json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace").decode()


def write_transcripts(held: Holding, path: Path, *, first_try_only: bool = False) -> int:
    """Writes the transcripts as JSON Lines, whole or not at all; the number of lines. Raises RunningError."""
    found = list(lines(held, first_try_only=first_try_only))
    try:
        write_atomically(path, "".join(f"{line}\n" for line in found))
    except OSError as error:
        raise RunningError(f"`{path}` cannot be written: {(error.strerror or str(error)).lower()}") from error
    return len(found)


def read_samples(path: Path) -> Transcripts:
    """The samples of a store as `read_transcripts` would give them, those without an answer too; what was never asked
    for is a problem that is named. The store may be in use. Raises TranscriptError for what is no store, or an empty
    one."""
    try:
        store = open_store(path, must_exist=True)
        try:
            held = holding(store)
        finally:
            store.close()
    except (RunningError, StoreError) as error:
        raise TranscriptError(str(error)) from None
    traces: list[Trace] = []
    problems: list[InputProblem] = []
    missing = 0
    for sample, name in zip(held.plan.samples, held.plan.names, strict=True):
        trace = trace_of(held, sample, name)
        if trace is None:
            missing += 1
        else:
            traces.append(trace)
    if missing:
        words = f"{missing:,} of {len(held.plan.samples):,} samples were not asked for yet: run `bylaw sample` again"
        problems.append(InputProblem(str(path), 1, words))
    if not traces:
        raise TranscriptError(f"there is no sample yet in `{path}`")
    return Transcripts(tuple(traces), tuple(problems))


def trace_of(held: Holding, sample: Sample, name: str) -> Trace | None:
    """A sample as a transcript, without an answer where it came to nothing; None where it was never asked for."""
    answer = held.answers.get(sample.key)
    if answer is None and sample.key not in held.failures:
        return None
    said = () if answer is None else spoken(answer.text)
    asked = messages_of([dict(each) for each in held.plan.prompts[sample.prompt].messages])
    return Trace((*asked, *said), {"meta.id": name, **_facts(held, sample)}, name)


def _facts(held: Holding, sample: Sample) -> dict[str, FactValue]:
    """The facts of the prompt, and what became of the sample, by dotted names; the name of the sample is no part."""
    found = {
        key: value
        for key, value in held.plan.prompts[sample.prompt].facts
        if key != "meta.id" and not key.startswith("meta.sample.")
    }
    found |= {"meta.sample.prompt": sample.prompt + 1, "meta.sample.epoch": sample.epoch + 1}
    found["meta.sample.model"] = str(held.plan.settings["model"])
    answer, failure = held.answers.get(sample.key), held.failures.get(sample.key)
    if answer is not None:
        found["meta.sample.finish_reason"] = answer.finish_reason
    elif failure is not None:
        found |= {"meta.sample.why": failure.why, "meta.sample.reason": failure.reason}
    return found


def _message(answer: Answer) -> dict[str, Any]:
    """The message as it was kept, read again as `spoken` reads it; one that is a refusal alone stands as its text."""
    kept = json.loads(answer.text)
    if kept.get("refusal") and not kept.get("content"):
        kept = {**kept, "content": kept["refusal"], "refusal": None}
    return {"role": "assistant", **{name: value for name, value in kept.items() if name == "content" or value}}
