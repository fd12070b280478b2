"""bylaw: one written policy, carried from text to proof, price, decoder, reward and audit.

The public API on one page. Everything is imported on first use, so that `import bylaw` is quick and needs no torch.

    compile_file(path), compile_source(source) -> Compiled      text to reward program, with all diagnostics
    Source, PolicyError                                         a policy text; what is raised when it is not sound
    evaluate(program, trace) -> Score                           the reference evaluator
    Trace, Message, tool_call, Verdict                          a conversation, and what is said of it
    explain(program, trace)                                     each rule's verdict, with the reasons
    format_text(path, text)                                     a policy text in the one layout, comments kept
    RewardProgram, program_from_json, program_to_json           the compiled policy as data
    generate(compiled, prompts, model) -> list[Answer]          answers under the policy, with their weights
    load_model(path)                                            a model to answer with; needs the extra `models`
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bylaw.compiler.evaluate import Score, Verdict, evaluate
    from bylaw.compiler.explain import explain
    from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
    from bylaw.compiler.program import RewardProgram
    from bylaw.compiler.program import from_json as program_from_json
    from bylaw.compiler.program import to_json as program_to_json
    from bylaw.runtime.generation.answers import Answer
    from bylaw.runtime.generation.entry import generate, load_model
    from bylaw.spec.errors import PolicyError
    from bylaw.spec.formatter import format_text
    from bylaw.spec.source import Source
    from bylaw.spec.trace import Message, Trace, tool_call

__version__ = "0.1.0"

_HOMES = {
    "Answer": ("bylaw.runtime.generation.answers", "Answer"),
    "Compiled": ("bylaw.compiler.pipeline", "Compiled"),
    "Message": ("bylaw.spec.trace", "Message"),
    "PolicyError": ("bylaw.spec.errors", "PolicyError"),
    "RewardProgram": ("bylaw.compiler.program", "RewardProgram"),
    "Score": ("bylaw.compiler.evaluate", "Score"),
    "Source": ("bylaw.spec.source", "Source"),
    "Trace": ("bylaw.spec.trace", "Trace"),
    "Verdict": ("bylaw.compiler.evaluate", "Verdict"),
    "compile_file": ("bylaw.compiler.pipeline", "compile_file"),
    "compile_source": ("bylaw.compiler.pipeline", "compile_source"),
    "explain": ("bylaw.compiler.explain", "explain"),
    "format_text": ("bylaw.spec.formatter", "format_text"),
    "generate": ("bylaw.runtime.generation.entry", "generate"),
    "load_model": ("bylaw.runtime.generation.entry", "load_model"),
    "tool_call": ("bylaw.spec.trace", "tool_call"),
    "evaluate": ("bylaw.compiler.evaluate", "evaluate"),
    "program_from_json": ("bylaw.compiler.program", "from_json"),
    "program_to_json": ("bylaw.compiler.program", "to_json"),
}

__all__ = [
    "Answer",
    "Compiled",
    "Message",
    "PolicyError",
    "RewardProgram",
    "Score",
    "Source",
    "Trace",
    "Verdict",
    "__version__",
    "compile_file",
    "compile_source",
    "evaluate",
    "explain",
    "format_text",
    "generate",
    "load_model",
    "program_from_json",
    "program_to_json",
    "tool_call",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bylaw' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
