"""Diagrams and descriptions of the machines, generated from the tables: Mermaid, SVG and Markdown.

Only the command line and the documentation use it; nothing that decides may import it.
"""
