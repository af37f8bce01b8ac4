"""All catalogues of the house in one list, and the table of tiers that is derived from them."""
