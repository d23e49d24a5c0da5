"""Commands of the command line in groups, and the code that they share."""
