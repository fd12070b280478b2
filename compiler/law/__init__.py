"""The one probability law behind a policy file: exact on enumerable spaces, estimated on weighted samples.

Modules (import the one you need; this package itself imports nothing, so that reading a policy stays numpy-free):

* ``numerics``     log-space arithmetic, validation and the errors that the others raise
* ``gibbs``        the exact law on an enumerated response space
* ``samples``      the law on weighted samples grouped by prompt, effective sample sizes, log Z with its error
* ``dual``         multipliers of budgets by Newton's method on the dual, with intervals
* ``feasibility``  which budgets cannot hold together, and which are hard rules in disguise
* ``prices``       what each rule costs in KL (Shapley shares) and which rules pull against each other
* ``divergence``   the f-divergences of the generator-regulator game and their conjugates
* ``games``        the closed-form case studies of arXiv:2606.18424
"""
