"""The nouns: frozen, pure, raising nothing."""
