"""Who is listening. Knows topics and subscriptions, nothing of sessions."""
