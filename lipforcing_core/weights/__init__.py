"""External checkpoints: what each is, where it comes from, under which licence, and whether it is here."""
