"""Where the networks of a stage live and how they are trained there: one device, later several."""
