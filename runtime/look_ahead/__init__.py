"""What multiplies into the next-token law of a proposal; one file for each kind of factor."""
