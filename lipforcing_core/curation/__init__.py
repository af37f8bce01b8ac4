"""From raw videos to aligned, synchronised, checked clips with a manifest; see `pipeline.curate_source`."""
