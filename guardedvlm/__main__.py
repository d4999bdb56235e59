"""`python -m guardedvlm`."""

from guardedvlm.cli import main

if __name__ == "__main__":
    main()
