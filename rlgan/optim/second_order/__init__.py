"""What second derivatives tell: the curvature about a point, and methods for full-batch losses that use it."""
