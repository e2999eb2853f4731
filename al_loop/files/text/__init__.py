"""Extended XYZ as text: columns, header values, a user's own entries."""
