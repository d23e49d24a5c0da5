"""Rules that turn a claim's facts and reviews into a decision."""
