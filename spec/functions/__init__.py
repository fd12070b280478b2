"""What can be computed from texts and numbers: one file each, see `bylaw.spec.catalog.Function`."""
