"""The life of a claim, from the request to its end."""
