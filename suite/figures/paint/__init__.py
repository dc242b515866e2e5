"""Painting: what of a figure goes where on paper, with matplotlib."""
