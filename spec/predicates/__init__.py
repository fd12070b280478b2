"""Yes-or-no questions about a text: one file each, see `bylaw.spec.catalog.Predicate`."""
