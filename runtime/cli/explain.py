"""`bylaw explain`: what a code means; with a policy, why a verdict came about, or which token broke which rule; with a
decode report, why a word was said."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import UNUSABLE, fail

_CODE = re.compile(r"[A-Za-z]{0,2}[0-9]\w{0,4}|[A-Za-z]\w{0,3}")
_OPTIONS = {"--format", "--help", "-h"}
_VERDICTS = "bylaw.runtime.cli.explain_verdict"
_DECODING = "bylaw.runtime.cli.explain_decode"
_CREDIT = "bylaw.runtime.cli.explain_credit"


class _Code(click.ParamType[str]):
    """The code of a diagnostic; completes to the codes there are, or else to policy files."""

    name = "code"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from bylaw.spec.errors import CODES

        begun = incomplete.upper()
        codes = [CompletionItem(code, help=title) for code, title in CODES.items() if code.startswith(begun)]
        return codes or PolicyPath().shell_complete(ctx, param, incomplete)


class _Explain(click.Command):
    """Explains a code itself and hands everything else on."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        module = _VERDICTS if _is_about_a_verdict(args) else None
        module = _DECODING if "--decode" in args else _CREDIT if "--credit" in args else module
        if module is not None:
            from importlib import import_module

            command: click.Command = import_module(module).command
            return command.make_context(info_name, args, parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


def _is_about_a_verdict(args: list[str]) -> bool:
    """Whether the first word is no code, or an option is not one for codes, and there is somebody to explain it."""
    words = [word for before, word in zip(["", *args], args, strict=False) if before != "--format"]
    first = next((word for word in words if not word.startswith("-")), None)
    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    is_code = first is None or (_CODE.fullmatch(first) is not None and not Path(first).exists())
    if is_code and options <= _OPTIONS:
        return False
    return find_spec(_VERDICTS) is not None


@click.command("explain", cls=_Explain)
@click.argument("code", required=False, type=_Code())
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="How to print the page.",
)
def command(code: str | None, output: str) -> None:
    """Explain a code such as P203: what it means, what to avoid, what to write instead.

    Without a code, all codes are listed. With a policy instead of a code, explain what it says of a conversation:
    `bylaw explain RULES --help` tells more. With --decode and the report of a decoder, explain which rule changed which
    word of an answer: `bylaw explain --decode --help`. With --credit and a policy, show which token of an answer broke
    which rule: `bylaw explain --credit --help`.
    """
    click.echo(_listing(output) if code is None else _page(code, output))


def _page(code: str, output: str) -> str:
    from bylaw.spec.pages import NoPage, page

    try:
        found = page(code.upper())
    except NoPage as error:
        meant = f"; did you mean `{error.suggestion}`?" if error.suggestion else "; `bylaw explain` lists all codes"
        fail(f"there is no code `{code}`{meant}", UNUSABLE)
    if output == "json":
        return json.dumps(found.as_data(), ensure_ascii=False, indent=2)
    return (found.markdown if output == "markdown" else found.as_text()).rstrip("\n")


def _listing(output: str) -> str:
    from bylaw.spec.errors import CODES
    from bylaw.spec.pages import by_group

    if output == "json":
        return json.dumps({group: {code: CODES[code] for code in codes} for group, codes in by_group()}, indent=2)
    parts = []
    for group, codes in by_group():
        rows = [f"| {code} | {CODES[code]} |" if output == "markdown" else f"  {code}  {CODES[code]}" for code in codes]
        head = [f"## {group}", "", "| code | meaning |", "|---|---|"] if output == "markdown" else [group]
        parts.append("\n".join([*head, *rows]))
    return "\n\n".join(parts)
