"""What commands do beside the main street, one file for each: plans, studies, estimates, synthesis elsewhere, pages."""
