"""Training towards the law: the same file that was checked and priced moves a model's weights, by any objective.

`train.train_policy` is the whole job; `settings` says what can be chosen, `experience` where rows come from, `loop` how
they are learnt from, `distance` how far the result is from p*. torch is imported by the modules that need it only.
"""
