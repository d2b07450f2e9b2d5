"""Runs of workflows: started, shown, cancelled, answered."""
