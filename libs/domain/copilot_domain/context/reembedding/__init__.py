"""From one embedding model to another while searches go on. `service` is for the API, the rest for who embeds."""
