"""A network being described, and the module it becomes."""
