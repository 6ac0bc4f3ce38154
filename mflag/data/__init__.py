"""Studies: reading, preparing, feeding, generating."""
