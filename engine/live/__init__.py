"""The live side: a session's node, its edge, its journal, and its replay."""
