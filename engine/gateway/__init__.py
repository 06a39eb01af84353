"""The order gateway: requests of the kernel to a venue, the venue's word back as own-order rows. Sans-I/O but for `transport`."""
