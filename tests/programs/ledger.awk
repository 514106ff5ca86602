# Associative arrays, regular expressions, numbers and output to a second file.
BEGIN {
    seed = 42
    for (step = 1; step <= 12000; step++) {
        # The harness holds the program here until it has saved it often enough.
        while (step == 9000 && (getline line < "go") < 0) ;
        for (i = 0; i < 600; i++) seed = (seed * 16807) % 2147483647
        account = "account-" seed % 997
        ledger[account] += seed % 10007
        text = account
        gsub(/[0-9]/, "<&>", text)
        printf "%d %s %d %.6f\n", step, text, ledger[account], sqrt(seed)
        if (step % 100 == 0) { print step, length(ledger) > "journal"; fflush() }
    }
    print length(ledger)
    exit 6
}
