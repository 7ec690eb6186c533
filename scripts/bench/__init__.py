"""What the gateway costs, beside the least that the same work could cost. README.md says how and how much."""
