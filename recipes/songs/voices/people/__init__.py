"""Singers and rappers made of people who were recorded speaking."""
