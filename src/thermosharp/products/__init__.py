"""Files to scenes: what each product means, never how it is fetched."""
