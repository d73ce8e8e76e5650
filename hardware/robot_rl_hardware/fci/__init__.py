"""The Franka FR3 over its own network protocol (FCI), through the maker's pylibfranka."""
