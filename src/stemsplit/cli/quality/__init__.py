"""`--quality`: models for people who know no names of models."""
