"""The analysis wing: reads records, compares them, writes the page. Imports no torch; used by step 05 alone."""
