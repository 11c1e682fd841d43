"""What people bring as files: bars, profiles and option quotes, in whatever shape they were saved; every row is accounted for."""
