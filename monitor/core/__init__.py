"""The contract as pure functions: facts in, verdicts, availability and credit out. No clock, no files, no floats."""
