"""Data parallel training: several processes train one network, each on a share of every batch.

Nothing in a graph changes. The same script is started in several processes::

    torchrun --nproc-per-node=2 script.py

and every trainer in it joins the processes for the time of its fit: with gloo on the CPU, with nccl
on CUDA devices, where each process has the one of its ``LOCAL_RANK``. A script that began a group
of its own (``torch.distributed.init_process_group``) is joined just so. torch's default group is
afterwards as before: there or not.

- ``batch_size`` is that of all processes together. The order of rows depends on seed and epoch
  only, so the shares of a batch are the batch of one process, and the gradients, weighed by rows,
  are its gradient. Loss, weights of rows and classes, accumulated batches and ensembles give the
  numbers of one process, but for rounding.
- Each process reads the same data and fits the same graph: give ``fit`` a seed, or each draws one
  of its own, which is refused.
- Validation is shared as well: each process evaluates a part of the rows, the outputs are put
  together, and all see the scores of the first.
- Dropout draws from (seed, process, step). Batch norm learns from the share of its process, and
  its statistics are averaged in each step: as with torch's DistributedDataParallel, larger shares
  are better.
- Only the first process calls callbacks that write (``Callback.writes``): checkpoints, logs,
  progress. Their folders are read by all, so they must be on a file system that all share.
- An exception in one process ends all of them with its message; so does Ctrl-C, and half
  an hour of waiting for one that does not come.
- In the end all weights and histories are compared; a difference is a ``StateError``.

Differs from DistributedDataParallel: gradients are summed in one message after the last backward
pass of a step, before clipping, instead of in pieces during it. Sparse gradients are refused.
"""
