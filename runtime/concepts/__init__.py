"""What a concept's score is made of: text models, calibration, and tests of both, for `bylaw.runtime.scorers`.

Importing this package imports nothing else: numpy and scikit-learn are imported where they are used.
"""
