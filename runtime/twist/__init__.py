"""The twist: an estimate of the value function V (LAW.md §3) for one automaton, from samples of the base model.

The policy sees the model through its automaton only, so the model is summarised as a Markov chain on automaton states:
the chance of each token class (tokens with equal columns) given the state and how far the response has come, counted on
base samples. A backward programme over (state × tokens left) then gives log V̂. Errors of the summary cost variance,
never bias: whoever proposes with a twist weighs by p0·e^R/q.

Values are stored at character boundaries only. A state inside a character has the mean of the values that its possible
completions have, one token for each byte that is missing. With U transducer states (hundreds once a rule asks for the
letters of all scripts) that makes the table U times smaller.

Reachability is exact, inside characters too: `Inside.nearest` counts the fewest tokens to a legal end with the tokens
that there are, whether they finish characters byte by byte, many bytes at once, or not at all. log V̂ is −inf just where
a legal end is further away than the tokens left, so that the proposal covers the law and never walks into a dead end
of its own. The exception is a vocabulary that has no end of text at all, where a response has `max_tokens` tokens
exactly: states inside characters know only that no more than these are needed, and a path may die (weight zero).

    table      Twist: the values, and how proposals read them      inside     values inside characters
    counting   base samples as the automaton sees them             proxy      the smoothed law of the next token class
    chain      transitions, classes of equal effect added up       programme  shortest ways to an end, and log V̂
    build      building one, and what is too large                 store      built twists on disk
    compiler   all groups of a policy, each built once             policies   a policy on many prompts, and its refusals
"""

from bylaw.runtime.twist.build import build_twist, shortest_response, uniform_twist
from bylaw.runtime.twist.counting import CountedSample, SamplePool
from bylaw.runtime.twist.errors import TwistError
from bylaw.runtime.twist.inside import Inside
from bylaw.runtime.twist.table import Proxy, StateArray, Twist

__all__ = [
    "CountedSample",
    "Inside",
    "Proxy",
    "SamplePool",
    "StateArray",
    "Twist",
    "TwistError",
    "build_twist",
    "shortest_response",
    "uniform_twist",
]
