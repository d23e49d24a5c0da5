"""Domain objects: frozen and pure. They raise nothing."""
