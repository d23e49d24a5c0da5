"""Names of the days, apart from the document: a gate without a policy loads this and no pydantic."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
