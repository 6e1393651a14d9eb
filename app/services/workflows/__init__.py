"""Automated workflows: what they are made of, and the life of one execution."""
