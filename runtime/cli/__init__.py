"""The command line. One module a verb; a verb's module is imported only when it is called.

Exit codes: 0 all well; 1 the policy is not sound, or cannot be enforced; 2 wrong usage or unusable input; 3 a part of
the input could not be read and was left out; 4 a gate failed (a hard rule or a budget is not known to be
kept); 130 interrupted.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

import bylaw

VERBS = {
    "audit": "Measure how often transcripts break each rule of a policy.",
    "calibrate": "Solve for the multipliers of a policy's limits on a model, and keep them.",
    "check": "Check a policy file: syntax, names, types, examples, contradictions.",
    "conflicts": "Show which rules of a policy contradict or imply each other.",
    "compare": "Compare models, checkpoints and judges: where they differ, since when, and how sure that is.",
    "concept": "Say how good the scores of concepts are, and which texts to label next.",
    "compile": "Make of a policy what trainers, judges and engines take: data, rewards, prompts.",
    "completion": "Print the shell completion script.",
    "diff": "Say what changed in meaning between two versions of a policy.",
    "doc": "Write a policy as a document for people, in Markdown or HTML.",
    "explain": "Explain a code such as P203, or what a policy says of a conversation.",
    "fit": "Fit the weights of a policy to judgements of which answer is better.",
    "generate": "Answer prompts under a policy, and say how close the answers are to its law.",
    "import": "Write a policy from rules of another tool.",
    "label": "Have people judge a random part of an audit's answers, and correct its rates by that.",
    "law": "Ask about the law itself: the game, the size of audits, how far a model is from it.",
    "mutate": "Change a policy in small ways; show which changes no example notices.",
    "new": "Begin a policy, a rule or a predicate from a model.",
    "fmt": "Write policy files in the one layout, comments kept.",
    "plan": "Say how many answers an audit takes, before any is drawn.",
    "price": "Say what each rule of a policy costs on a model; ask what if.",
    "probe": "Make prompts that show how a model keeps each rule, and review them.",
    "residual": "Print the rules that are left once facts are known, as policy text.",
    "run": "Check, price, enforce and audit a policy on a model, in one report.",
    "sample": "Ask a model for the answers that an audit needs; go on after any end.",
    "test": "Run the examples and tests of a policy; show what they leave unseen.",
    "train": "Train a model towards the law of a policy, and measure how near it comes.",
    "upgrade": "Rewrite policies of an older edition to the current one.",
}

_MODULES = {"import": "import_policy"}  # a word of Python cannot name a module

INTERRUPTED = 130


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the command with one word and the exit code that shells expect; click's own would be 1."""
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        raise SystemExit(INTERRUPTED) from None


def _module(verb: str) -> str:
    return f"bylaw.runtime.cli.{_MODULES.get(verb, verb)}"


class LazyGroup(click.Group):
    """Knows its verbs by name and imports one when it is asked for."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _interruptible():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _interruptible():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(_module(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        name = args[0] if args else ""
        if name not in VERBS and not name.startswith("-"):
            near = difflib.get_close_matches(name, VERBS, n=1)
            ctx.fail(f"there is no command `{name}`." + (f" Did you mean `{near[0]}`?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(bylaw.__version__, prog_name="bylaw")
def main(**_: Any) -> None:
    """bylaw carries one written policy from text to proof, price, decoder and audit.

    Exit codes: 0 all well, 1 the policy is not sound or cannot be enforced, 2 wrong usage or unusable input, 3 a part
    of the input was left out, 4 a hard rule or a budget is not known to be kept, 130 interrupted.
    """
