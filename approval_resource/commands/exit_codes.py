"""Exit codes of the command line, beside 0 for done. click itself gives 2 where the command line is wrong.

`Commands.invoke` in shared.py turns every failure raised on purpose into `FAILED`.
"""

FAILED = 1
"""Refused or failed; or something was found: errors in a policy, faults in the record."""
COULD_NOT_LOOK = 3
"""An audit could not look at the record, so that it says nothing of it."""
UNCOUNTED = 3
"""An approval was recorded and counts for nothing."""
INTERRUPTED = 130
"""Ctrl-C, as shells tell it."""
READER_GONE = 141
"""Whoever reads the output stopped, as `| head` does; as shells tell SIGPIPE."""
