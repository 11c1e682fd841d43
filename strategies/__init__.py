"""What is traded, and when: no strategy knows another."""
