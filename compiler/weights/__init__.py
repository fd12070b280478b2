"""Weights of soft rules from judgements: convex fitting, intervals, held-out accuracy and what cannot be expressed.

Modules (import the one you need; this package itself imports nothing, so that reading a policy stays numpy-free):

* ``problem``    judged pairs as arrays, and how to build them from features with ranks
* ``fit``        the weights: hinge (linear or quadratic programme) or logistic (Bradley–Terry with margins and ties)
* ``bootstrap``  intervals of the weights, resampled by prompt
* ``held_out``   accuracy on pairs of prompts that were not fitted
* ``cycles``     judgements as a graph: pairs judged both ways, and shortest cycles
* ``conflicts``  contradictory judgements, cycles, and orderings that no weights can express
"""
