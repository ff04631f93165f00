"""A graph of typed nodes, and one walk over it; knows neither tensors nor tables."""
