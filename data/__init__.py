"""The edges: instruments, the catalog, readers of vendor formats and Cython decoders. Knows nothing of strategies."""
