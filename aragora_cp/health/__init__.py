"""What is well and what is not: circuit breakers."""
