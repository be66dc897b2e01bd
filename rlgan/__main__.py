"""`python -m rlgan` is the console command `rlgan`."""

from rlgan.runs.cli import main

if __name__ == "__main__":
    main()
