"""A move as one compiled graph."""
