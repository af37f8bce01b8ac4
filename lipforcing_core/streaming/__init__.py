"""Lip-synced video, chunk by chunk: generators, the source face, and files in to file out."""
