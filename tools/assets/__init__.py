"""Make what is shipped: trained networks, experiments, grades, the opening picture."""
