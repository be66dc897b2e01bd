"""`python -m rlgan` is the console command `rlgan`."""

from rlgan.cli import main

if __name__ == "__main__":
    main()
