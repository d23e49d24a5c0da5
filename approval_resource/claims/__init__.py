"""Life of a claim, from the request to its end."""
