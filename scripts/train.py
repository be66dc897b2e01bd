"""Train: `python scripts/train.py task=ddpg steps=20000`; --help shows more. The same as the command `rlgan`."""

from rlgan.runs.cli import main

if __name__ == "__main__":
    main()
