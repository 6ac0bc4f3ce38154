"""What the latent space looks like."""
