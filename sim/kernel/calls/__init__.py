"""What the operations of a table do: the interpreter calls them by address, each compiled on its own."""
