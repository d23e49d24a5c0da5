#!/usr/bin/env python3
"""Command line for reviewers, operators and auditors, started from a clone. Installed, it is called `approvals`.

Exit codes: 0 done; 1 refused, failed, or faults found; 2 the command line itself is wrong; 3 an audit could not
look at the record, or an approval was recorded that counts for nothing; 130 interrupted; 141 the output's reader
went away.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # an isolated Python (-I) adds no folder to sys.path by itself

from approval_resource.__main__ import main
from approval_resource.commands.root import cli

__all__ = ["cli", "main"]

if __name__ == "__main__":
    main()
