"""Rule sentences as authors write them, for measuring automata: what answers must do, and what they must not."""

from __future__ import annotations

_AT_SEA = (
    "ferry harbour pier jetty quay mooring anchor berth buoy lighthouse tide current breakwater slipway "
    "marina dinghy trawler barge tug pilot captain crew deckhand cargo freight container manifest "
    "customs passenger ticket timetable crossing departure arrival delay fare luggage cabin deck gangway "
    "lifeboat lifejacket signal horn fog gale swell knot"
)
_ON_SALE = (
    "cheap discount bargain sale offer deal freebie giveaway coupon voucher rebate clearance markdown "
    "promo promotion bonus gratis unbeatable exclusive limited hurry urgent jackpot winner prize lottery "
    "casino bet"
)


def _lexicon(words: str) -> str:
    quoted = ", ".join(f'"{word}"' for word in words.split(" "))
    return f"mention any of [{quoted}]"


REQUIRED = (
    # How an answer opens and closes.
    'start with "Thank you for writing to Alderquay"',
    'start with "Hello" or start with "Good morning" or start with "Dear"',
    r"start with /Dear (Mr|Ms|Mx|Dr)\.? [A-Z][a-z]+,/",
    r"start with /(hello|hi|good (morning|afternoon|evening))[,!]? /i",
    'end with "Your Alderquay team"',
    r"end with /[.!?]/",
    r"match /(?s)Subject: .{5,60}\n\n.+\n\nKind regards,\n[A-Z][a-z]+ [A-Z][a-z]+/",
    'be in ["yes", "no", "I do not know"]',
    # Answers for machines.
    r'start with /\{\s*"status"\s*:\s*"(ok|error|pending)"/',
    r'match /(?s)\{\s*"answer"\s*:\s*"[^"\\]*"\s*,\s*"sources"\s*:\s*\[.*\]\s*\}/',
    r"match /-?[0-9]+(\.[0-9]{1,2})?/",
    r"match /[A-Z]{2}[0-9]{2}( ?[A-Z0-9]{4}){3,5}/",
    r"match /(?i)(true|false)/",
    r"contain /<answer>[^<]{1,200}<\/answer>/",
    r"match /[a-z0-9]+(-[a-z0-9]+)*/",
    # What is to be found in it.
    r"contain /\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b/",
    r"contain /\b(0?[1-9]|[12][0-9]|3[01])\.(0?[1-9]|1[0-2])\.(19|20)[0-9]{2}\b/",
    r"contain /\b(Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday), [0-9]{1,2} [A-Z][a-z]+\b/",
    r"contain /\b([01]?[0-9]|2[0-3]):[0-5][0-9]\b/",
    r"contain /\bHB-[0-9]{5}\b/",
    r"contain /\+[0-9]{2} [0-9]{2,4} [0-9]{4,8}/",
    r"contain /https:\/\/(www\.)?alderquay\.example(\/[a-z0-9\/-]*)?/",
    r"contain /[A-Za-z0-9._%+-]+@alderquay\.example\b/i",
    r"contain /[0-9]{1,3}(,[0-9]{3})*(\.[0-9]{2})? (EUR|USD|GBP)/",
    r"contain /\$[0-9]+(\.[0-9]{2})?/",
    r"contain /[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]+ [A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]+/",
    r"contain /[^\x00-\x7f]/",
    r"contain /(?i)step [0-9]+:/",
    r"contain /\(source: [^)]+\)/i",
    'contain "§ 312"',
    'contain "please call us" and contain "office hours"',
    'mention "refund"',
    'mention "Größe"',
    'mention "ημερομηνία"',
    'mention all of ["name", "date of birth", "order number"]',
    'mention any of ["unfortunately", "regrettably", "I am sorry", "we are sorry", "my apologies"]',
    'mention at least 2 of ["thanks", "please", "welcome", "glad", "happy"]',
    _lexicon(_AT_SEA),
    # How much of it.
    "have at most 200 words",
    "have at least 50 words",
    "have between 3 and 6 bullets",
    "have at most 10 sentences",
    "have exactly 3 paragraphs",
    "have at most 600 characters",
    "have no commas",
    'contain "!" at most 2 times',
    "be lowercase",
    "have at least 1 headings",
    # Lines.
    'every line of response must match /[0-9]+\\. .*/',
    'every line of response must have at most 80 characters',
    'first line of response must start with "# "',
    'last line of response must contain "Alderquay"',
)  # fmt: skip

FORBIDDEN = (
    'contain "as an AI"',
    'contain "!"',
    'contain any of ["http://", "ftp://", "telnet://"]',
    'contain ";"',
    'mention any of ["always", "never", "guaranteed", "risk-free", "no questions asked"]',
    'mention "war"',
    'mention any of ["damn", "hell", "bloody", "crap", "stupid", "idiot", "moron", "dumb"]',
    'mention any of ["Λάθος", "αδύνατο"]',
    _lexicon(_ON_SALE),
    r"contain /(?i)\b(as|being) an? (AI|artificial intelligence|(large )?language model)\b/",
    r"contain /(?i)i(['’]m| am) (just|only) (a|an) /",
    r"contain /\b[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b/",
    r"contain /\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b/",
    r"contain /[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}/",
    r"contain /https?:\/\/[^\s]+/i",
    r"contain /(\+|00)[0-9]{1,3}[ ()0-9-]{6,14}[0-9]/",
    r"contain /\b[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}\b/",
    r"contain /[0-9]{1,3}(\.[0-9]{1,3}){3}/",
    r"contain /(?i)password\s*[:=]\s*\S+/",
    r"contain /(?i)api[_-]?key\W{0,10}[a-z0-9]{16,64}/",
    r"contain /-----BEGIN ([A-Z]+ )?PRIVATE KEY-----/",
    r"contain /<\/?[a-z][a-z0-9]*[^<>]*>/i",
    r"contain /[Ѐ-ӿ]/",
    r"contain /[\u3040-\u30ff\u4e00-\u9fff]{2,}/",
    r"contain /[\x{1F300}-\x{1FAFF}]/",
    r"contain /(.)\n\n\n/",
    r"contain /(?m)^\s*[-*•] /",
    r"contain /\b[A-Z]{5,}\b/",
    r"contain /[0-9]/",
    r"contain /(?i)\bguarantee(d|s)?\b.{0,40}\b(return|profit|income)s?\b/",
    r"start with /(?i)(sure|certainly|of course|absolutely)[,!]/",
    r"end with /\?/",
    r"match /(?i)\s*(i am|i'm) (sorry|afraid).*/",
)  # fmt: skip
