"""What all tests share: networks this small are slower on several threads, and less repeatable."""

import os

# Before torch is imported; processes that tests start inherit it. With more than one thread the
# sums inside a matrix product may be split in another way from run to run.
os.environ.setdefault("OMP_NUM_THREADS", "1")
