"""Policies, transcripts and prompts that the tests of targets share; invented, some of it hostile on purpose."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path

from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.compiler.targets.interface import Inputs, Options
from bylaw.runtime.judges.exported import asked
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace, tool_call

EXAMPLES = Path(__file__).parents[1] / "examples"
SUPPORT = EXAMPLES / "support" / "rules.bylaw"

# What templates, YAML, Markdown, shells and Python would take for their own, as texts of a policy.
HOSTILE = """
policy mill.desk version "1.0 {{ 7*7 }} # : - [x] `id` $(id) '''" edition 1
levels top > low
rule braces "A {{ title }} of {% raw %} and $(touch x) `y`" at top {
  because \"\"\"Braces {{ config }} and {% for x in y %},
  a second line: - with YAML: [1, 2] # and more\"\"\"
  must not contain "{{ 7*7 }}"
  violates "{{ 7*7 }} <|im_end|>"
  complies "{% endraw %} '; rm -rf x; echo '"
}
rule three_quotes "Three quotes" at low {
  should not contain "'''" weight 2
}
rule shout at low {
  prefer lower number of exclamation_marks in response weight 0.5
}
rule rarely at low {
  limit response contains "$(id)" to at most 5% of responses
}
"""
HOSTILE_TEXTS = (
    "{{ 7*7 }} {% for x in y %}",
    "a: b\n- c # d\n---\n...",
    "\"\"\"''' \\N{DASH} \\",
    "$(touch x) `id` '; exit 1",
    "\u2028 \u202e \x00 \x1b[31m <|im_end|>",
    "!!python/object:os.system",
)
SMALL = """
policy mill.desk version "2.1" edition 1
levels top > low
rule no_iron "Iron stays unsaid" at top { must not mention "iron" }
rule oats at top { when prompt mentions "porridge" should mention "oats" weight 2 }
rule brief at low { should have at most 4 words weight 0.5 }
rule calm at low { prefer lower number of exclamation_marks in response weight 0.25 }
rule rare at low { limit response mentions "rye" to at most 5% of responses }
rule spare at low { limit response mentions "salt" to at most 10% of responses where response mentions "oats" }
rule longish at low { limit average number of words in response to at most 6 }
"""
MIXED = """
policy mill.mixed version "1" edition 1
levels top > low
concept scorn means "Looks down on somebody." { like "You oaf." unlike "Good day." }
rule kind at top { every sentence of response must not express scorn }
rule german at top { when prompt is in language "de" must be in language "de" }
rule page at top { must not quote meta.page more than 3 words }
rule signed at low { last sentence of response should mention "doctor" weight 2 }
rule order at low { prefer response contains "oats" over response contains "rye" weight 0.5 }
"""
MULTIPLIERS = {"rare": 1.5, "spare": 0.75, "longish": 0.125}


@cache
def compiled(text: str) -> Compiled:
    """A sound policy from its text."""
    found = compile_source(Source.of("rules.bylaw", text))
    found.require()
    return found


def calibrated(policy: Compiled, nats: float = 0.75) -> RewardProgram:
    """The program with a multiplier for every limit."""
    program = policy.require()
    budgets = {term.id: nats for term in program.terms if term.kind == "budget" and not term.each_prompt}
    return program.with_multipliers(budgets)


def inputs(
    policy: Compiled,
    traces: tuple[Trace, ...] = (),
    options: Options | None = None,
    program: RewardProgram | None = None,
) -> Inputs:
    """What a target is made from; the version of bylaw is fixed, so that expected files outlive it."""
    return Inputs(policy, program or policy.require(), "0.0.0", traces, options or Options(), asked)


def answered(prompt: str, response: str, **facts: str | float | bool) -> Trace:
    """A conversation of two messages."""
    return Trace((Message("user", prompt), Message("assistant", response)), {f"meta.{k}": v for k, v in facts.items()})


def answers() -> tuple[Trace, ...]:
    """Answers to prompts of the small policy: clean ones, broken ones, several to a prompt, with hostile texts."""
    said = {
        "What is porridge?": ("Oats and water.", "Oats, iron and salt.", "Water!", "Oats and rye and salt, very long."),
        "Good morning": ("Good morning!!!", "Good morning.", "Iron."),
        "Iron?": ("Iron.", "Iron, of course."),
        **{text: (f"Said {text}", f"Said: {text} once more and again!") for text in HOSTILE_TEXTS},
    }
    return tuple(
        Trace((Message("system", "You mill."), *answered(prompt, answer).messages), {"meta.shift": 2.0}, f"t{number}")
        for number, (prompt, answer) in enumerate((p, a) for p, found in said.items() for a in found)
    )


def prompts(count: int = 3) -> tuple[Trace, ...]:
    """Prompts, hostile ones among them."""
    texts = (*HOSTILE_TEXTS, *(f"Question {number}" for number in range(count)))
    return tuple(Trace((Message("user", text),), id=f"p{number}") for number, text in enumerate(texts))


PHRASES = (
    "you can sue", "damn", "order 48213", "4242 4242 4242 4242", "iron", "oats", "rye", "salt", "{{ 7*7 }}", "'''",
    "$(id)", "I cannot help with that", "full refund", "internal note", "Ask a doctor.", "- one\n- two\n- three",
    "reading list", "The desk at Reedmere", "friend", "OPAC", "no fine", "HB-12345",
    "Guten Tag, wie geht es Ihnen heute?", "is booked", "Stop!!",
)  # fmt: skip
EXAMPLE_FACTS: dict[str, tuple[str | float | bool, ...]] = {
    "meta.account": ("business", "private"), "meta.budget_frozen": (True, False), "meta.database": ("live", "copy"),
    "meta.inbox": ("partners", "open"), "meta.role": ("clerk", "guest"), "meta.channel": ("mail", "chat"),
    "meta.is_child": (True, False), "meta.page": ("The harbour was closed in winter for all boats.", ""),
    "meta.speaker": ("librarian", "reader"), "meta.type": ("homonyms", "contrast_homonyms", "privacy"),
}  # fmt: skip


def random_traces(seed: int, count: int, facts: tuple[str, ...]) -> list[Trace]:
    """Conversations from what the rules of the examples look for, tool calls among them."""
    generator = random.Random(seed)

    def said(most: int) -> str:
        return " ".join(generator.choices(PHRASES, k=generator.randint(0, most)))

    found = []
    for number in range(count):
        before = [Message("system", f"You answer. {said(1)}")] if generator.random() < 0.5 else []
        if generator.random() < 0.4:
            tool = generator.choice(("book_ticket", "refund", "run_query", "search_trains"))
            before += [
                Message("user", said(2)),
                tool_call(tool, {"price": float(generator.randint(1, 400)), "note": said(1)}),
                Message("tool", said(2), tool),
            ]
        known = {name: generator.choice(EXAMPLE_FACTS[name]) for name in facts}
        found.append(Trace((*before, Message("user", said(3)), Message("assistant", said(6))), known, f"r{number}"))
    return found


@cache
def example(name: str) -> Compiled:
    """One of the policies under examples/."""
    return compile_file(EXAMPLES / name / "rules.bylaw")


def lines(data: bytes) -> list[dict[str, object]]:
    """The objects of JSON Lines."""
    return [json.loads(line) for line in data.decode("utf-8").splitlines() if line]
