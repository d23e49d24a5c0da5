"""The command line's groups of commands, and what all commands share."""
