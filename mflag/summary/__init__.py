"""One page of all that the programs found: data, runs, latents, scores, the paper's tables."""
