"""Which method takes the steps, by counted work: an explicit one, RKC where it is held down by stability, or BDF."""
