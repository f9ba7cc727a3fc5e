"""The service: a web page and an HTTP API, with the work done in processes that may be killed."""
