"""What is looked for in a page: text, personal data in it, faces, codes; and which text stays visible."""
