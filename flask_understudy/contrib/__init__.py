"""What another application wants unchanged, but not every application needs.

A part is imported by its own name and brings its own dependencies: `contrib.mail` (extra `mail`),
`contrib.exports` (extra `postgres` on PostgreSQL, nothing more on SQLite),
`contrib.webhooks.sending` (extra `webhooks`).
"""
