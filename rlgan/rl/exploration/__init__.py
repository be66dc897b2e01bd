"""What makes an agent try something else than what it thinks is best."""
