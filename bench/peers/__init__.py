"""What people run today, at its best settings."""
