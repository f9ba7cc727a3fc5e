"""The laboratory: each claim of the lecture, measured and drawn (extra ``lab``). No other package imports it."""
