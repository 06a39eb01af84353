"""The strategies' API, configuration, replay, reports and the command line: where kernels and data meet."""
