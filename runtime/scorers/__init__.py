"""Ways to score how strongly a text expresses a concept. One file is one scorer, named after it, as in
`scored by NAME`; `interface` says what they share, and modules whose name begins with `_` are helpers.

Importing this package imports nothing else.
"""
