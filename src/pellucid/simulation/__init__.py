"""Simulate noise and cameras: clean images in, noisy ones out."""
