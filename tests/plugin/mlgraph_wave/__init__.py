"""A third party's package: one layer in one file, found through an entry point."""
