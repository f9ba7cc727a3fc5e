"""Photographs as cameras take them: noise that processing has smeared, and what many shots show on average.

A clean image and a random generator enter, a pair leaves. Nothing here knows of files, networks or metrics.

========================  ================================================================
`camera.development`      colours and tones between the sensor and the screen, and back
`camera.mosaic`           one colour for each pixel, and three again
`camera.directed`         three again along edges, as most cameras find them
`camera.sensor`           the noise itself
`camera.film`             grain, where there is film before the sensor
`camera.finish`           what the camera does against noise and for sharpness
`camera.photograph`       all of it in its order: what a caller needs
`camera.ranges`           such cameras at random, mixed with other noise and with none
`camera.deviation`        how strong the noise of a pair is, and where
`camera.lines`            smoothing along lines, which `camera.finish` needs
`camera.filters`          blurring and resizing, which several of these need
========================  ================================================================
"""
