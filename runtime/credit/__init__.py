"""Credit for single tokens: which token of a response its reward hangs on."""

from __future__ import annotations

from bylaw.runtime.credit.errors import CreditError
from bylaw.runtime.credit.outlook import Outlooks
from bylaw.runtime.credit.tokens import (
    Placement,
    TermCredit,
    TokenCredit,
    credit,
    rewards_to_go,
    shaped,
    token_rewards,
)

__all__ = [
    "CreditError",
    "Outlooks",
    "Placement",
    "TermCredit",
    "TokenCredit",
    "credit",
    "rewards_to_go",
    "shaped",
    "token_rewards",
]
