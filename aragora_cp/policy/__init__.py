"""What is allowed, what is switched on, and what it may cost."""
