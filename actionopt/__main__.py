"""`python -m actionopt`: the command line."""

from actionopt.cli import main

if __name__ == "__main__":
    main(prog_name="python -m actionopt")
