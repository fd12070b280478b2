"""Transcripts of several models side by side: which answers go with which prompt, and what the rules say of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from bylaw.compiler.evaluate import Verdict
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.audit.audit import score
from bylaw.spec.trace import Trace


class ComparisonError(ValueError):
    """Files or models that cannot be compared as asked; text fit for users."""


def prompt_of(trace: Trace) -> str:
    """A key of the conversation up to the last message of the user: equal keys are equal prompts (SHA-256)."""
    end = max((place + 1 for place, each in enumerate(trace.messages) if each.role == "user"), default=0)
    total = hashlib.sha256()
    for each in trace.messages[:end]:
        for part in (each.role, each.content):
            data = part.encode("utf-8", "surrogatepass")
            total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()


def answer_of(trace: Trace) -> str:
    """What was answered to the last message of the user: its texts, without space around them."""
    end = max((place + 1 for place, each in enumerate(trace.messages) if each.role == "user"), default=0)
    said = [each.content for each in trace.messages[end:] if each.role == "assistant"]
    return "\n".join(said).strip()


def asked(trace: Trace) -> str:
    """The last message of the user on one line, to call a prompt by; empty where there is none."""
    said = [each.content for each in trace.messages if each.role == "user"]
    return " ".join(said[-1].split()) if said else ""


def grouped(traces: Sequence[Trace]) -> dict[str, list[Trace]]:
    """The traces of each prompt, by `prompt_of`, in order."""
    found: dict[str, list[Trace]] = {}
    for trace in traces:
        found.setdefault(prompt_of(trace), []).append(trace)
    return found


def shared(files: Sequence[dict[str, list[Trace]]]) -> list[str]:
    """The prompts that every file answers, in the order of the first. Raises ComparisonError for fewer than two."""
    found = [key for key in files[0] if all(key in other for other in files[1:])]
    if len(found) < 2:
        raise ComparisonError(
            f"{len(found) or 'no'} prompt{'' if len(found) == 1 else 's'} of the first file "
            f"{'is' if len(found) == 1 else 'are'} answered in all the others, and a comparison needs two at least: "
            "sample every model on the same prompts, with the same messages before the answer"
        )
    return found


def statements(program: RewardProgram) -> tuple[RewardTerm, ...]:
    """The terms that are kept or broken. Raises ComparisonError where a policy has none."""
    found = tuple(term for term in program.terms if term.holds is not None)
    if not found:
        raise ComparisonError("the policy measures quantities only; a comparison of rates needs a rule or a limit")
    return found


def is_valid(terms: Sequence[RewardTerm], trace: Trace) -> bool | None:
    """Whether an answer breaks none of `terms`; None where one of them cannot be scored and no other is broken."""
    verdicts = {score(term, trace).verdict for term in terms}
    if Verdict.VIOLATED in verdicts:
        return False
    return None if Verdict.UNSCORED in verdicts else True
