"""bylaw: one written policy, carried from text to proof, price, decoder, reward and audit."""

__version__ = "0.1.0"
