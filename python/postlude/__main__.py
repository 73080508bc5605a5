"""``python -m postlude`` is the ``postlude`` command."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
