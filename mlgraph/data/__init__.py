"""What flows before the network: tasks, selectors, lazy tensors, batches and predictions."""
