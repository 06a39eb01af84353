"""The journal of a live session: what happened, in order, so that it can be recovered, replayed and proven."""
