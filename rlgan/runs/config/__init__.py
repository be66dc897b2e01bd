"""From the words of a command to Python objects: configurations are composed, checked and built."""
