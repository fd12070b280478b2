"""A small policy with hostile and ordinary answers, for tests of what an audit writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bylaw.compiler.pipeline import Compiled, compile_file
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.audit.prompts import prompts_of
from bylaw.runtime.record import AuditRecord
from bylaw.spec.trace import Message as Said
from bylaw.spec.trace import Trace, tool_call

POLICY = """policy larkmoor.shop version "2.0.0" edition 1
levels root > user

rule no_card_numbers "Never repeat a card number" at root { must not contain /[0-9]{4}( [0-9]{4}){3}/ }

rule no_swearing "Keep it polite" at root {
  must not mention any of ["damn", "what the hell"]
}
rule guests_wait at user { when meta.guest must mention "please wait" }
rule no_refunds at root { call to refund must not occur }
rule no_law at user { should not mention "sue" weight 2 }
rule short at user { prefer lower number of words in response weight 0.1 }
rule few_refusals "Harmless questions get an answer" at user {
  limit response mentions "I must decline" to at most 20% of responses
}
rule zebras at user { when prompt contains "zebra" must be json }
"""
EVIL = (
    '\x1b[31m</p></script><script>document.title="owned"</script><img src=x onerror=alert(1)>'
    "\u202e\"' {{ 7*7 }} <!-- ]]>"
)
ANSWERS = (
    "Your parcel is on its way.",
    "That is a damn nuisance, what the hell.",
    "We charged 4242 4242 4242 4242.",
    f"damn {EVIL}",
    "You can sue. I must decline.",
    "Straße, ﬁne: please wait",
)


def compiled(folder: Path, text: str = POLICY) -> Compiled:
    """The policy as a file of this folder."""
    path = folder / "rules.bylaw"
    path.write_text(text, encoding="utf-8")
    found = compile_file(path)
    assert found.ok, found.diagnostics
    return found


def traces(answers: Sequence[str] = ANSWERS, repeat: int = 2) -> list[Trace]:
    """Each answer so many times, to the same prompt; every other customer's standing is unknown; one call of a tool."""
    found = []
    for number, answer in enumerate(answers):
        for copy in range(repeat):
            facts = {"meta.guest": True} if copy else {}
            asked = Said("user", f"Where is order {number}? {EVIL}")
            found.append(Trace((asked, Said("assistant", answer)), facts, f"log of may.jsonl:{len(found) + 1}"))
    call = tool_call("refund", {"amount": 5.0})
    found.append(Trace((Said("user", "Money!"), call, Said("assistant", "Done.")), {"meta.guest": False}, EVIL))
    return found


def audited(policy: Compiled, given: Sequence[Trace], **changes: object) -> AuditRecord:
    """The audit as the command makes it."""
    options = {"source": "log of may.jsonl", "policy": policy.source, "clusters": prompts_of(given), **changes}
    return audit(policy.require(), given, **options)  # type: ignore[arg-type]
