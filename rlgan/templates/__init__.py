"""What `rlgan new` copies: of each kind a class that works, its option and its test; under the names Mine, my_name."""
