"""Training: losses, optimizers, metrics, callbacks, checkpoints, the loop and the Trainer."""
