"""Documents: the nouns as stored and digested, and back."""
