"""What an agent is measured and drawn by, beside its evaluation."""
