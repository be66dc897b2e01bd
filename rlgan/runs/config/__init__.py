"""From the words of a command to objects: composing, checking, building."""
