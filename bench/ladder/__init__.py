"""The ladder from the published loop to ``preset=recommended``: one change a rung."""
