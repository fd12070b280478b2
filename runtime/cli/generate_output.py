"""What `bylaw generate` prints: answers to standard output, what is to be said of them to standard error."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bylaw.runtime.decoders.interface import Estimate
    from bylaw.runtime.generation.answers import Answer
    from bylaw.runtime.generation.prepare import Prepared
    from bylaw.runtime.models.interface import LanguageModel


@dataclass
class Printer:
    """Prints answers as they come. `total` prompts; with one, the answers stand alone."""

    total: int
    as_json: bool
    decoder: str
    _told: dict[int, str] = field(default_factory=dict)

    def watch(self, index: int, text: str) -> None:
        """The answer to prompt `index` has grown to `text`."""
        said = self._told.get(index, "")
        if not self.as_json and text.startswith(said):
            click.echo(text[len(said) :], nl=False)
            self._told[index] = text

    def show(self, answer: Answer) -> None:
        """One prompt is answered."""
        if self.as_json:
            from bylaw.runtime.generation.answers import as_json

            click.echo(json.dumps(as_json(answer, self.decoder), ensure_ascii=False))
        else:
            self._print(answer)
        for line in remarks(answer, self.decoder):
            click.echo(line, err=True)

    def _print(self, answer: Answer) -> None:
        result = answer.result
        texts = [sample.text for sample in result.responses] or ([] if result.rescued is None else [result.rescued])
        said = self._told.pop(answer.index, "")
        if self.total > 1:
            click.echo(f"{'' if not answer.index else chr(10)}prompt {answer.plan.trace.id}: {_question(answer)}")
        for number, text in enumerate(texts):
            if number:
                click.echo()
            click.echo(text[len(said) :] if not number and text.startswith(said) else text)


def _question(answer: Answer) -> str:
    from bylaw.runtime.report.text import one_line

    messages = answer.plan.trace.messages
    return one_line(messages[-1].content) if messages else ""


def remarks(answer: Answer, decoder: str) -> list[str]:
    """What must be known of an answer besides its text, a line each."""
    result, told = answer.result, answer.result.diagnostics
    parts = [f"{told.passes} evaluations of the model", f"{answer.seconds:.1f} s"]
    if told.acceptance is not None:
        parts.insert(0, f"{told.acceptance.value:.0%} of {result.particles} proposals accepted")
    elif result.particles > 1:
        parts.insert(0, f"{result.particles} proposals, worth {result.ess:.1f} independent ones")
    if told.total_variation is not None:
        parts.insert(0, f"distance from the law {_within(told.total_variation)} (total variation)")
    name = f"prompt {answer.plan.trace.id}"
    found = [f"{name}: {decoder}{', biased' if result.biased else ''}: {', '.join(parts)}"]
    found += [f"{name}: {remark}" for remark in told.remarks]
    if result.rescued is not None:
        found.append(f"{name}: no answer was finished; this one keeps the hard rules and was ended without the model")
    elif not result.responses:
        found.append(f"{name}: no answer was found")
    return found


def _within(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}, {estimate.low:.3f} to {estimate.high:.3f}"


def list_decoders() -> None:
    """Prints every decoder, what it is for, and its options."""
    from bylaw.runtime.decoders.choose import decoder_class, decoder_names
    from bylaw.runtime.generation.decoder_options import options_of

    for name in decoder_names():
        kind = decoder_class(name)
        module = __import__(kind.__module__, fromlist=["__doc__"])
        click.echo(f"{name}: {(module.__doc__ or '').strip().splitlines()[0]}")
        for option in options_of(name):
            click.echo(f"    {option.name}={option.default}  ({option.takes})")


def warn_if_rare(prepared: Prepared, model: LanguageModel, max_tokens: int) -> None:
    """Says on standard error where the base model hardly ever keeps the hard rules of a prompt."""
    from bylaw.runtime.twist.policies import hard_mass

    for found in hard_mass(prepared.plans, prepared.base, model, max_tokens):
        if found.is_rare:
            click.echo(f"warning: {found.message()}", err=True)
