"""The command line (placeholder until the machinery below it stands)."""


def main() -> None:
    raise SystemExit(2)
