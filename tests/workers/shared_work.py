"""Work that devices share something for, for the probe of all at once; in a module, since other processes import it."""

import fcntl
import time


def under_one_lock(path, place):
    """A pass of 52 ms, in 50 of which only one process at a time can be."""
    file = open(path, "w")  # noqa: SIM115

    def step():
        fcntl.flock(file, fcntl.LOCK_EX)
        time.sleep(0.05)
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(0.002)  # or nobody else would get it

    return step
