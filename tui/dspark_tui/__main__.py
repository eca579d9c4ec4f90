"""`python -m dspark_tui` is the same program as `dspark-chat`."""

from dspark_tui.cli import main

if __name__ == "__main__":
    main()
