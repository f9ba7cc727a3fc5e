"""What brings the input of a network to zero mean and unit deviation."""

#: Mean and standard deviation of natural images in [0, 1].
IMAGE_MEAN, IMAGE_STD = 0.45, 0.25
#: The same for a noise level drawn uniformly from 0 to 55/255.
SIGMA_MEAN, SIGMA_STD = 0.108, 0.0623
