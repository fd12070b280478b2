"""Things that can be counted in a text: one file each, see `bylaw.spec.catalog.Unit`."""
