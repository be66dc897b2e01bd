"""Landscapes: where descent goes, what noise does at critical points, and what steps do to noise."""
