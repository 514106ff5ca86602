# Hashes, regular expressions, sorting, closures and formatted output.
use strict;
use warnings;
$| = 1;
my ($seed, %ledger, @history) = (42);
my $next = sub { $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed };
for my $step (1 .. 12000) {
    # The harness holds the program here until it has saved it often enough.
    select undef, undef, undef, 0.01 while $step == 9000 && !-e "go";
    my $amount = $next->();
    my $account = "account-" . $amount % 997;
    $ledger{$account} += $amount % 10007;
    push @history, "$account:$ledger{$account}";
    my $sum = 0;
    $sum += $next->() % 7 for 1 .. 700;
    (my $turned = $account) =~ s/(\d+)-?/<$1>/g;
    printf "%d %s %d %d %.4f\n", $step, $turned, $sum, scalar(keys %ledger), sqrt($amount);
}
my @last = (sort @history)[0 .. 99];
print "@last\n";
exit 3;
