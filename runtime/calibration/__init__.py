"""Solving for the multipliers of the limits of a policy on a model, and the record that keeps them.

Modules (import the one you need):

* ``problem``        the limits of a program over its prompts as one dual problem, and multipliers by prompt
* ``draws``          samples of the model and of its regulated proposals; ``sample_store`` keeps them on disk
* ``pool``           all draws as one weighted sample (balance heuristic)
* ``fit``            the proposal moved towards the law until the pool is worth enough
* ``job``            all of `bylaw calibrate`, and the same in memory for `bylaw run`
* ``check``          the limits on fresh samples
* ``record``         what it leaves, and whether it is still about these rules, this model and these prompts
* ``report``         the record from what was found; ``text`` prints it
* ``compare``        measured rates beside those of the law
"""
