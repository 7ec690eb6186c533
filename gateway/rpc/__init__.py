"""Frame in, handler, answer out. Knows no method by name and no socket."""
