"""Training objectives: pure functions of log-probabilities, one file each, all of the one law (LAW.md).

p*(y | x) ∝ p0(y | x) · 1[hard] · exp(Σ w r − Σ μ f), everything in nats, one convention throughout: E[R] − KL, so β = 1
is the law. The folder is the catalogue: see `catalog` for the names, `interface` for what goes in and comes out.
"""
