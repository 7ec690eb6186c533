"""What survives a restart. `base` is the seam, `sqlite` the engine that is always there."""
