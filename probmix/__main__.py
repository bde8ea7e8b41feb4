"""``python -m probmix``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="probmix")
