"""What is kept: the folder with one owner, the ledger, the tape."""
