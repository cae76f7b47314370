"""Two folders of records, before and after: the same configurations side by side, never pooled."""
