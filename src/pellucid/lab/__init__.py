"""Ablation studies: each claim of the lecture is tested, measured and plotted (extra ``lab``)."""
