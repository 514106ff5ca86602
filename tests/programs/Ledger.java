// Java: a pool, a fork-join pool behind a parallel stream, locks, a timer, garbage, code that gets compiled while it runs.
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.LongStream;

class Ledger {
    static final int STEPS = 120;

    static long mix(long x, int rounds) {
        for (int i = 0; i < rounds; i++)
            x = x * 6364136223846793005L + 1442695040888963407L;
        return x;
    }

    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        ScheduledExecutorService clock = Executors.newScheduledThreadPool(1, work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        AtomicLong ticks = new AtomicLong();
        clock.scheduleAtFixedRate(ticks::incrementAndGet, 1, 1, TimeUnit.MILLISECONDS);
        Map<Long, byte[]> accounts = new ConcurrentHashMap<>();
        long hash = 1;
        for (int step = 0; step < STEPS; step++) {
            // The harness holds the program here until it has saved it often enough.
            while (step == STEPS * 3 / 4 && !Files.exists(Path.of("go")))
                Thread.sleep(10);
            List<Future<Long>> results = new ArrayList<>();
            for (int job = 0; job < 8; job++) {
                long seed = hash ^ job;
                results.add(pool.submit(() -> {
                    long result = mix(seed, 20000);
                    accounts.put(Math.floorMod(result, 97L), new byte[40000]);
                    synchronized (accounts) {
                        return result;
                    }
                }));
            }
            for (Future<Long> result : results)
                hash = hash * 31 + result.get();
            long start = hash;
            hash += LongStream.range(0, 200).parallel().map(i -> mix(start + i, 200)).sum();
            if (step % 20 == 0) {
                System.gc();
                for (long before = ticks.get(); ticks.get() == before; )
                    Thread.sleep(1);
            }
            System.out.println(step + " " + hash);
        }
        pool.shutdown();
    }
}
