"""Programs for whoever works on the gateway; none of them is installed."""
