"""What requests must look like and what answers look like. Request schemas validate; answer schemas document."""
