"""Forms in which a curated data set leaves the house: the protocol, one file a form, and the catalogue."""
