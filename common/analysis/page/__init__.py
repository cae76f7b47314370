import os

os.environ.pop("MPLBACKEND", None)  # a notebook's, inherited: matplotlib would look for it, and files need none
