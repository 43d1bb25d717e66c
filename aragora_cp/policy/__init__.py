"""Who may do what, as rules say it."""
