"""Tools of the course; run them from the repository as `python -m tools.<folder>.<file>`."""
