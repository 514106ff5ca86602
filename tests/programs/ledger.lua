-- Tables, strings, closures, coroutines and garbage collection.
io.stdout:setvbuf("line")
local seed = 42
local numbers = coroutine.wrap(function()
    while true do
        seed = (seed * 1103515245 + 12345) % 2147483648
        coroutine.yield(seed)
    end
end)
local ledger, history = {}, {}
for step = 1, 15000 do
    -- The harness holds the program here until it has saved it often enough.
    while step == 11000 do
        local go = io.open("go")
        if go then go:close() break end
    end
    local amount = numbers()
    local account = "account-" .. amount % 997
    ledger[account] = (ledger[account] or 0) + amount % 10007
    history[#history + 1] = account:upper():gsub("%d", "%0.")
    local sum = 0
    for _ = 1, 400 do sum = sum + numbers() % 7 end
    if step % 500 == 0 then collectgarbage() end
    print(step, account, ledger[account], sum, string.format("%.4f", math.sqrt(amount)))
end
table.sort(history)
print(table.concat(history, " ", 1, 200))
os.exit(4)
