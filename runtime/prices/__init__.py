"""What every rule of a policy costs, read off scored responses: no model is needed.

Modules (import the one you need):

* ``errors``        what can be wrong with a question about prices
* ``calibrated``    what `bylaw calibrate` left, read back and checked against the rules
* ``law``           the law of a program on the scored responses of a suite, and the rates under it
* ``solve``         the multipliers of its limits, from the same responses
* ``shares``        its divergence from the base model, divided among the rules
* ``table``         one row a rule: rates, multiplier, price, share of the divergence; ``remarks`` says what stands out
* ``interactions``  which rules pull against each other, and what a weight buys
* ``curve``         one limit at every bound
* ``what_if``       other bounds, other weights, rules left out: before and after
* ``scored``        responses with their weights and scores, as a file
* ``policy``        the prices in the report of `bylaw run`, from its own samples
"""
