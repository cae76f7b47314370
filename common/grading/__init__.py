"""What a class hands in, and a row for each student: what was run, what it proves, what to ask about."""
