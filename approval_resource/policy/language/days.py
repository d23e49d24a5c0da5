"""Names of the days.

They stand apart from the document, so that a gate without a policy never loads pydantic.
"""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
