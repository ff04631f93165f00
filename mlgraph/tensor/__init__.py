"""What is known about a tensor before there is one, and how it is found out."""
