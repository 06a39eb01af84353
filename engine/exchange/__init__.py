"""A practice exchange: another process, with its own matching and ledger, that speaks a venue's protocol on real sockets.

Nothing here imports the engine it is there to test, kernels least of all: what it says is a second opinion. A test holds it.
"""
