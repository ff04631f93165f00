"""Columns of tensors that nobody has read yet."""
