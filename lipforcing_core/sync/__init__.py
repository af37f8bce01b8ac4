"""Audio-visual synchrony: MFCC, SyncNet-v2, Sync-C / Sync-D / offset, and the small expert trained on puppets.

Start at ``experts.catalogue.load_sync_expert``; the score itself is defined in ``offset``.
"""
