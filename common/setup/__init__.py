"""The environment in which the lab runs: found or made. Runs on a bare Python: nothing is imported but Python's own."""
