"""Matrix expressions: nodes, normal forms, series in the weight scale, adjoints, dense values."""
