"""Faces: detection, tracking, the canonical aligned crop, the mouth mask, and pasting a crop back."""
