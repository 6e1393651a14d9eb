"""What the business does. Services queue nothing themselves; actors and blueprints do."""
