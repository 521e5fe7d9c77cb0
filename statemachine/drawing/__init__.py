"""Drawings of the machines: Mermaid, SVG and text, made from the tables.

Nothing that decides imports this.
"""
