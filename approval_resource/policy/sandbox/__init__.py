"""A child process with limits, and the code that runs in it."""
