"""What the command line says of the model that writes probes and of the model under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bylaw.runtime.probes.make import Stage


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The model that writes prompts and the model under test, as the command line says it."""

    generator: str | None
    generator_model: str | None
    generator_key: str | None
    generator_budget: int | None
    scenarios: int
    prompts: int
    paraphrases: int
    target: str | None
    target_model: str | None
    target_key: str | None
    target_budget: int | None
    rounds: int


_ENDPOINT_OPTIONS = (
    click.option("--generator", metavar="URL", help="A model that writes prompts: an OpenAI-compatible endpoint."),
    click.option("--generator-model", metavar="NAME", help="The name that the endpoint knows it by."),
    click.option("--generator-key", metavar="VARIABLE", help="The environment variable with its API key."),
    click.option("--generator-budget", metavar="N", type=click.IntRange(1), help="Most questions sent to it."),
    click.option(
        "--scenarios", default=4, show_default=True, type=click.IntRange(0, 50),
        help="Situations that it writes for each rule.",
    ),
    click.option(
        "--prompts-each", default=3, show_default=True, type=click.IntRange(1, 20),
        help="Prompts that it writes for each situation.",
    ),
    click.option(
        "--paraphrases", default=0, show_default=True, type=click.IntRange(0, 20),
        help="Paraphrases of each prompt that was made without it.",
    ),
    click.option("--target", metavar="URL", help="The model under test, to search for the right difficulty."),
    click.option("--target-model", metavar="NAME", help="The name that the endpoint knows it by."),
    click.option("--target-key", metavar="VARIABLE", help="The environment variable with its API key."),
    click.option("--target-budget", metavar="N", type=click.IntRange(1), help="Most prompts sent to it."),
    click.option(
        "--rounds", default=4, show_default=True, type=click.IntRange(1, 50), help="Rounds of the search for each rule."
    ),
)  # fmt: skip


def endpoint_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command gets each as an argument of its own."""
    for option in reversed(_ENDPOINT_OPTIONS):
        function = option(function)
    return function


def endpoints_of(given: dict[str, Any]) -> Endpoints:
    """The options together. Raises click.UsageError where one needs another."""
    ends = Endpoints(**{("prompts" if name == "prompts_each" else name): value for name, value in given.items()})
    for name, url, model, key, budget in (
        ("generator", ends.generator, ends.generator_model, ends.generator_key, ends.generator_budget),
        ("target", ends.target, ends.target_model, ends.target_key, ends.target_budget),
    ):
        if url is not None and model is None:
            raise click.UsageError(f"--{name} needs --{name}-model, the name that the endpoint knows its model by")
        for option, value in ((f"--{name}-model", model), (f"--{name}-key", key), (f"--{name}-budget", budget)):
            if url is None and value is not None:
                raise click.UsageError(f"{option} is of use with --{name} only")
    if ends.target is not None and ends.generator is None:
        raise click.UsageError("--target needs --generator: the prompts that are tried are written by a model")
    return ends


@contextmanager
def writing_stages(ends: Endpoints, seed: int) -> Iterator[list[tuple[str, Stage]]]:
    """What a model writes, where one is given; its connections are closed afterwards."""
    if ends.generator is None or ends.generator_model is None:
        yield []
        return
    from contextlib import ExitStack

    from bylaw.runtime.judges.interface import JudgeParameters
    from bylaw.runtime.probes.search import AskedModel
    from bylaw.runtime.probes.writer import Writer
    from bylaw.runtime.probes.written import Writing

    with ExitStack() as opened:
        asker = opened.enter_context(_asker(ends.generator, ends.generator_key, ends.generator_budget))
        writer = Writer(asker, JudgeParameters(ends.generator_model, 1.0, 4096, seed))
        target = None
        if ends.target is not None and ends.target_model is not None:
            tested = opened.enter_context(_asker(ends.target, ends.target_key, ends.target_budget))
            target = AskedModel(tested, JudgeParameters(ends.target_model, 1.0, 1024, seed))
        yield [("Writing", Writing(writer, ends.scenarios, ends.prompts, ends.paraphrases, target, ends.rounds))]


def _asker(url: str, key: str | None, requests: int | None) -> Any:
    from bylaw.runtime.judges.budget import Budget, Meter
    from bylaw.runtime.judges.client import EndpointAsker
    from bylaw.runtime.judges.store import AnswerStore, default_place
    from bylaw.runtime.judges.wire import Endpoint

    return EndpointAsker(Endpoint(url, key), AnswerStore(default_place()), Meter(Budget(requests)))
