"""Exit codes of the command line, beside 0 for done and click's own 2 for a wrong command line.

`Commands.invoke` in shared.py turns an expected failure that no command handles into `FAILED`.
"""

FAILED = 1
"""Refused or failed; or something was found: errors in a policy, faults in the record."""
COULD_NOT_LOOK = 3
"""An audit could not read the record, so it found out nothing."""
UNCOUNTED = 3
"""An approval was recorded and counts for nothing."""
INTERRUPTED = 130
"""Interrupted by Ctrl-C. Shells give SIGINT this code."""
READER_GONE = 141
"""The output's reader has gone, as `| head` does. Shells give SIGPIPE this code."""
