"""Names a hang in one sentence: which rank the others wait for, in which collective, since when, and where it is.

`hang_watch` holds what the ranks of one host tell each other, and asks a silent rank for its stack. `watchdog` looks
for a hang over NCCL, which raises no error of its own. All of it for a small program: `with
watched_ranks(timeout_seconds=60) as rank:` (`common.running.failures`). Nothing here knows of DataParallel or DDP.
"""
