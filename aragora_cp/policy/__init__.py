"""Who may do what, as rules say it; what is allowed, what is switched on, and what it may cost."""
