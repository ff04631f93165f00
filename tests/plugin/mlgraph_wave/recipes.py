"""Whole graphs around the layer."""

from mlgraph import nn, po


def siren(task, *, n_blocks=2, d_block=32, omega=2.0, **trainer):
    """Affine maps and sines in turn (Sitzmann et al., 2020)."""
    block = nn("linear", d_block) >> nn("sine", omega)
    return nn("block", block, n_blocks) >> nn("head") >> po("torch_model", **trainer)
