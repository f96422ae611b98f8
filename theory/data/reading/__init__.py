"""What a data set is made from and shown as: columns, tables and frames."""
