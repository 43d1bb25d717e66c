"""What is well and what is not, and who is told. What it needs of the store is handed in."""
