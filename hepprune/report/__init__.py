"""What people look at: the summary, its table and its plots."""
