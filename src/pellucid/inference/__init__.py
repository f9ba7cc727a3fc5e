"""Denoise arrays: noise estimation, network, tiles."""
