"""Webhooks as the HTTP doors show them."""
