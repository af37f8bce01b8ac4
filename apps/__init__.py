"""What people touch: the command line, and later pages and plug-ins."""
