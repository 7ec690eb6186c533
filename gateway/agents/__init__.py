"""Whatever can take a turn. `base` has the promises, one file a kind has the rest."""
