"""The kinds of policy, one file each."""
