"""``python -m thermosharp`` is the command ``thermosharp``."""

from thermosharp.cli import main

if __name__ == "__main__":
    main()
