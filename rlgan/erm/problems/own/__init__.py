"""Samples of the user's own, read from files: a folder of pictures, arrays, a table."""
