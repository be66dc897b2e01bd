"""Pictures and arrays of the user's own: which files, which axis, which numbers are black and white, who is held out.

Whatever is wrong with a file is said with its name; whatever is done to it so that it can be read is said in a note.
"""
