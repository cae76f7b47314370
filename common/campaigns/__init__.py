"""Launches in rounds, with a purpose: `make lab`, `sweep`, `exchanges`, `exercise`, `crossover` and `ladder`.

What each of the first four launches stands in `campaign`, as data. `crossover` and `ladder` plan each launch by how
those before it ended. `runner` runs all of them.
"""
