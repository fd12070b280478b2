"""Language models as judges: what they are asked, how they are reached, and what their answers are worth.

Importing this package imports nothing else: the client of an endpoint is imported where it is used.
"""
