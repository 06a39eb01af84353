"""What runs beside a live session: it reads the session's journal and counters, and can only cancel."""
