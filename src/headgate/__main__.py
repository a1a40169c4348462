"""`headgate`, and `python -m headgate`."""

from headgate.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
