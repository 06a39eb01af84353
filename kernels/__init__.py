"""Compiled code only: numbers in, numbers out. No I/O, no clock, no logging, nothing raised."""
