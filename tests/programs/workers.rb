# Threads of Ruby: a pool with queues, a mutex, a condition variable, fibers, thread-local data.
STEPS = 150
jobs, results = Queue.new, Queue.new
lock, changed = Mutex.new, ConditionVariable.new
ticks = 0

Thread.new do
  loop do
    sleep 0.001
    lock.synchronize { ticks += 1; changed.broadcast }
  end
end
workers = 6.times.map do
  Thread.new do
    Thread.current[:done] = 0
    while (number, value = jobs.pop)
      800.times { value = (value * 6364136223846793005 + 1442695040888963407) & 0xffffffffffffffff }
      Thread.current[:done] += 1
      results << [number, value]
    end
  end
end
series = Fiber.new { x = 1; loop { Fiber.yield x; x = x * 31 % 1_000_003 } }

hash = 1
STEPS.times do |step|
  # The harness holds the program here until it has saved it often enough.
  sleep 0.01 while step == STEPS * 3 / 4 && !File.exist?("go")
  12.times { |number| jobs << [number, hash ^ number ^ series.resume] }
  values = 12.times.map { results.pop }.sort.map(&:last)
  hash = values.inject(hash) { |sum, value| (sum * 31 + value) & 0xffffffffffffffff }
  if step % 10 == 0
    lock.synchronize { before = ticks; changed.wait(lock) while ticks == before }
  end
  puts "#{step} #{hash} #{workers.sum { |worker| worker[:done] || 0 }}"
  $stdout.flush
end
jobs.close
workers.each(&:join)
