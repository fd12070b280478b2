"""The one probability law behind a policy file: exact on enumerable spaces, estimated on weighted samples.

Modules (import the one you need; this package itself imports nothing, so that reading a policy stays numpy-free):

* ``numerics``     log-space arithmetic, validation and the errors that the others raise
* ``gibbs``        the exact law on an enumerated response space
* ``samples``      the law on weighted samples grouped by prompt, effective sample sizes, log Z with its error
* ``rows``         samples with equal feature rows merged, on which every evaluation runs
* ``dual``         multipliers of budgets over the population or of each prompt, with intervals; its parts are
                   ``dual_problem``, ``dual_newton`` and ``dual_intervals``
* ``feasibility``  which budgets cannot hold together, and which are hard rules in disguise (``feasibility_lp``)
* ``prices``, ``path_prices``  what each rule costs in KL: Shapley's values, and beyond 12 rules the path integral
* ``interactions``  which rules pull against each other, or cost nothing, beyond sampling error
* ``tradeoff``     what a budget costs as its bound moves
* ``markov_automaton``, ``markov``, ``markov_dual``, ``markov_length``  the exact law of a Markov model under a weighted
  automaton: its moments, samples and multipliers, and whether it exists without a cap on the length
* ``normalisable`` which terms of a policy can pay without limit as a response grows (without numpy)
* ``divergence``   the f-divergences of the generator-regulator game and their conjugates
* ``equilibria``   the game's saddle points under every divergence, with a certificate; regulators that see a feature
* ``games``        the closed-form case studies of arXiv:2606.18424
* ``detection``    how many responses tell two laws, or two rates, apart
* ``draws``        responses weighted for two laws at once
* ``witnesses``    lower bounds on a divergence from samples, by a fitted witness
"""
