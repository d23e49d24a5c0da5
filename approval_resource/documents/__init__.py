"""The nouns as they are stored and digested, and back."""
