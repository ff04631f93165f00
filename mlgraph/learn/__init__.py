"""Graphs as scikit-learn estimators; imported on first use only, as it needs scikit-learn."""
