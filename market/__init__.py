"""What a market says, pure: bars and what is reckoned from them."""
