"""`python -m dspark_local` is the same program as `dspark-local`."""

from dspark_local.cli import main

if __name__ == "__main__":
    main()
