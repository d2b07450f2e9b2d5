"""What `copilot doctor` looks at."""
