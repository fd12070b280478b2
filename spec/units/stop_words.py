"""A stop word: one of the commonest English words that mean little by themselves (articles, pronouns, prepositions,
conjunctions, auxiliary verbs and their contracted forms), in any case. The list is our own."""

from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units import words

ENGLISH = (
    "a an the this that these those such same other another each every all both any some no none few more most much "
    "many i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself "
    "we us our ours ourselves they them their theirs themselves who whom whose which what "
    "and but or nor so yet if because although though while until unless than as whether "
    "of at by for with about against between among into through during before after above below to from up down in out "
    "on off over under within without upon toward towards across along around behind near since per via "
    "again further then once here there when where why how not only own too very just also even still already ever "
    "am is are was were be been being have has had having do does did doing done can could will would shall should may "
    "might must cannot "
    "i'm i've i'll i'd you're you've you'll you'd he's he'll he'd she's she'll she'd it's it'll it'd we're we've we'll "
    "we'd they're they've they'll they'd that's there's here's what's who's where's let's isn't aren't wasn't weren't "
    "haven't hasn't hadn't don't doesn't didn't can't couldn't won't wouldn't shan't shouldn't mustn't mightn't needn't"
)


@cache
def _list() -> frozenset[str]:
    return frozenset(ENGLISH.split())


def find(text: str) -> tuple[Extent, ...]:
    return tuple(
        extent
        for extent in words.find(text)
        if text[extent.start : extent.end].lower().replace("\u2019", "'") in _list()
    )


UNIT = Unit(
    summary="common English words that mean little by themselves, such as the, of and is",
    find=find,
    machine=None,
    examples=(UnitExample("The boat isn't in the harbour.", 4), UnitExample("Boats sail", 0)),
)
