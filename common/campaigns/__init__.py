"""Launches in rounds, with a purpose: `make lab`, `sweep`, `exchanges`, `exercise`, `crossover` and `ladder`.

`campaign` says as data what each of them launches; `crossover` and `ladder` plan each launch by how those before
it ended (`adaptive`). `__main__` runs all of them.
"""
