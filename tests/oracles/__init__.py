"""Float64 oracles, written from the formulas; they import nothing of mflag."""
