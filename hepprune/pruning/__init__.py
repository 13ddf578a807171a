"""What matters in a network, and how to take away what does not."""
