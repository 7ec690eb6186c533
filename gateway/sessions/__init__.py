"""The domain: what a session is, what may happen to it, and who writes it down."""
