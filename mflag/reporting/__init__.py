"""Self-contained HTML pages: tables, plots, and the frame around them."""
