"""The predefined callbacks; ``mlgraph.train.callbacks.known`` finds them by key."""
