"""One page of everything that the programs found: data, runs, latents, tasks, the paper's tables."""
