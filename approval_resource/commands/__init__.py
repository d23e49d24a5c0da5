"""Commands of cli.py in groups, and the code that they share."""
