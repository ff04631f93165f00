"""Saving and loading: one file of JSON, tensors and tables, which is read and never run."""
