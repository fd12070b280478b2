"""The options of `bylaw sample`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from bylaw.runtime.cli.sampling import Temperature


class Positive(click.FloatRange):
    """A finite number above 0 (or from 0 on); the floats of click let `nan` and `inf` through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a number that can be used here.", param, ctx)
        return found


class EndpointTemperature(Temperature):
    """A temperature; endpoints take 0 as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return 0.0 if str(value).strip() in ("0", "0.0") else super().convert(value, param, ctx)


_SOURCES = (
    click.option(
        "--prompts", type=click.Path(), help="With RULES: the prompts, instead of its suites or prompts.jsonl."
    ),
    click.option("--system", type=click.Path(), help="A text file: the system message before each prompt."),
    click.option(
        "--model",
        help="A Hugging Face folder (default: the model that comes with bylaw); with --endpoint, its name there.",
    ),
    click.option("--allow-download", is_flag=True, help="Fetch the model from the hub if it is not a folder."),
    click.option("--endpoint", metavar="URL", help="Ask an OpenAI-compatible endpoint, as http://127.0.0.1:8000/v1."),
    click.option("--endpoint-key", metavar="VARIABLE", help="The environment variable with the endpoint's API key."),
    click.option(
        "--limit-field",
        type=click.Choice(["max_tokens", "max_completion_tokens"]),
        default="max_tokens",
        show_default=True,
        help="What the endpoint calls the limit of an answer's tokens.",
    ),
    click.option("--regulated", is_flag=True, help="Answer under the policy RULES, as `bylaw generate` does."),
    click.option("--decoder", default="qrs", show_default=True, help="With --regulated: how to sample."),
    click.option(
        "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the decoder; repeatable."
    ),
    click.option("--calibration", type=click.Path(), help="With --regulated: what `bylaw calibrate` wrote."),
)
_ANSWERS = (
    click.option("--epochs", default=1, show_default=True, type=click.IntRange(1), help="Answers to each prompt."),
    click.option(
        "--seed",
        default=0,
        show_default=True,
        type=click.IntRange(0),
        help="Makes answers repeatable, where the server heeds it.",
    ),
    click.option("--no-seed", is_flag=True, help="Send no seed to the endpoint."),
    click.option(
        "--max-tokens", default=512, show_default=True, type=click.IntRange(1), help="Longest answer, in tokens."
    ),
    click.option(
        "--temperature",
        default=1.0,
        show_default=True,
        type=EndpointTemperature(),
        help="Sampling temperature; 0 with --endpoint only.",
    ),
    click.option("--stop", multiple=True, help="End an answer before this text; repeatable."),
)
_PACE = (
    click.option(
        "--at-once",
        default=8,
        show_default=True,
        type=click.IntRange(1, 256),
        help="Most requests under way; fewer where the server says that it has too much to do.",
    ),
    click.option(
        "--timeout",
        default=120.0,
        show_default=True,
        type=Positive(min=0, min_open=True),
        help="Seconds for one answer.",
    ),
    click.option(
        "--retries", default=4, show_default=True, type=click.IntRange(0), help="Further attempts for one sample."
    ),
    click.option(
        "--budget-requests",
        metavar="N",
        type=click.IntRange(0),
        help="Most requests of this call; 0 only writes what is there.",
    ),
    click.option("--budget-tokens", metavar="N", type=click.IntRange(0), help="Most tokens of this call, in and out."),
    click.option("--budget-seconds", metavar="S", type=Positive(min=0), help="Most seconds of this call."),
    click.option(
        "--until-decided",
        is_flag=True,
        help="With RULES: ask prompts in the order that --seed fixes, until every limit and hard rule is decided.",
    ),
    click.option("--retry-failed", is_flag=True, help="Ask again what was withheld or could not be read before."),
)
_OUT = (
    click.option(
        "--out",
        required=True,
        type=click.Path(),
        metavar="STORE",
        help="The file that keeps the samples (SQLite); the same command goes on with it.",
    ),
    click.option(
        "--transcripts",
        type=click.Path(),
        help="Where to write the answers for `bylaw audit`. Default: STORE with the ending .jsonl.",
    ),
    click.option("--first-try-only", is_flag=True, help="Write only answers that took one attempt."),
    click.option(
        "--dry-run", is_flag=True, help="Say what would be asked and what it may cost; ask nothing, write nothing."
    ),
    click.option(
        "--price-in", metavar="P", type=Positive(min=0), help="With --dry-run: price of a million tokens sent."
    ),
    click.option(
        "--price-out", metavar="P", type=Positive(min=0), help="With --dry-run: price of a million tokens answered."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print how the run stands as JSON."),
)


def sample_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All of them."""
    for option in reversed((*_OUT, *_SOURCES, *_ANSWERS, *_PACE)):
        command = option(command)
    return command
