"""A flow, its data and a start, integrated to a trajectory."""
