"""`python -m symloss` is the command line."""

from symloss.cli import main

if __name__ == "__main__":
    main()
