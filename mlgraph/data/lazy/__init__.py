"""Columns of tensors that nobody has read yet.

A lazy column refers to rows of sources (arrays, files, encoded images, data sets) and holds the
operations that are pending on them. Nothing is read until a ``Reader`` is asked for a batch.
"""
