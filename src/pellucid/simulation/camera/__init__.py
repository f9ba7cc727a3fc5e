"""Camera simulation: an image becomes a noisy photograph and the mean of many such photographs.

===============  =====================================================
`camera`         the whole pipeline, in order
`sampling`       random cameras for training
`sensor`         shot and read noise
`film`           film grain
`demosaic`       color filter arrays and their interpolation
`isp`            white balance, color matrix, tone curve; both ways
`postprocess`    denoising and sharpening in the camera
`filters`        convolution and resizing
===============  =====================================================
"""
