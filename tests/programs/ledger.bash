# Builtins only: arrays, arithmetic, patterns, formatted output and, with an argument, a trap.
declare -A ledger
seed=42
lines=()
[[ $# == 0 ]] || trap 'echo ended with ${#lines[@]} lines' EXIT
for ((step = 0; step < 4500; step++)); do
    # The harness holds the program here until it has saved it often enough.
    while ((step == 3400)) && [[ ! -e go ]]; do :; done
    for ((i = 0; i < 120; i++)); do
        ((seed = (seed * 1103515245 + 12345) % 2147483648))
    done
    account="account-$((seed % 97))"
    ((ledger[$account] += seed % 10007))
    lines+=("${account/-/ number } ${ledger[$account]}")
    printf '%06d %-20s %x\n' "$step" "${lines[step / 2]^^}" "$seed"
done
for account in "${!ledger[@]}"; do :; done
echo "${#ledger[@]} accounts"
exit 5
