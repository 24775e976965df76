"""``python -m semantica.pipeline``: the command line."""

from semantica.pipeline.tools.cli import main

if __name__ == "__main__":
    main()
