//! What is found in an inventory, and what it shows.
