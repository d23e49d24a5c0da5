"""A Concourse resource type that puts people between two steps of a pipeline."""
