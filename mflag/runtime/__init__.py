"""What every program needs to run safely: files, signals, progress, seeds."""
