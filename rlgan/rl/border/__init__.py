"""What is given to single environments and taken from them: copied, checked, and apart from the run's randomness."""
