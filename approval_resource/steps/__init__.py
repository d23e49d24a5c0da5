"""The three scripts of the resource: JSON from Concourse in, JSON to Concourse out."""
