"""Steps that solve for the state that they end in: backward differentiation, by secants and by a Jacobian."""
