"""A package, so that its conftest and factories are not mistaken for those of the folder above."""
