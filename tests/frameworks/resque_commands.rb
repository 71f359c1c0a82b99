# What Resque 2.7 sends, by redis-rb 4.8 as Debian has it.
#
# Resque itself is no Debian package. The calls of the client below are those of its data store
# (Resque::DataStore), in the order in which enqueueing, a worker's life, a failure, the pruning of
# dead workers and the web page make them; keys have the prefix of its namespace.
#
# needs-apt: ruby-redis
# keeps: yes
require "json"
require "redis"
require "time"
require "timeout"

PORT, PART = ARGV
REDIS = Redis.new(url: "redis://127.0.0.1:#{PORT}/0")
WORKER = "host:4711:mail,*"
DEAD = "host:1:*"
$good = true

def key(name) = "resque:#{name}"

def test(name)
  Timeout.timeout(30) { yield }
  puts "ok Resque's commands #{PART}: #{name}"
rescue Exception => error
  puts "not ok Resque's commands #{PART}: #{name}", error.full_message(highlight: false)
  $good = false
ensure
  $stdout.flush
end

def equal(got, expected)
  raise "got #{got.inspect}, expected #{expected.inspect}" unless got == expected
end

def enqueue(queue, klass, *arguments)
  REDIS.pipelined do |piped|
    piped.sadd(key("queues"), [queue])
    piped.rpush(key("queue:#{queue}"), JSON.generate("class" => klass, "args" => arguments))
  end
end

# reserve: the next job of the queues in the worker's order.
def reserve(*queues)
  queues.each do |queue|
    job = REDIS.lpop(key("queue:#{queue}"))
    return [queue, JSON.parse(job)] if job
  end
  nil
end

def register(worker)
  REDIS.pipelined do |piped|
    piped.sadd(key("workers"), [worker])
    piped.set(key("worker:#{worker}:started"), Time.now.to_s)
  end
  seconds, = REDIS.time
  REDIS.hset(key("workers:heartbeat"), worker, Time.at(seconds).iso8601)
end

def unregister(worker)
  REDIS.pipelined do |piped|
    piped.srem(key("workers"), [worker])
    piped.unlink(key("worker:#{worker}"))
    piped.unlink(key("worker:#{worker}:started"))
    piped.hdel(key("workers:heartbeat"), worker)
    piped.unlink(key("stat:processed:#{worker}"))
    piped.unlink(key("stat:failed:#{worker}"))
  end
end

def work_off(worker, queue, job)
  payload = JSON.generate("queue" => queue, "run_at" => Time.now.utc.iso8601, "payload" => job)
  REDIS.set(key("worker:#{worker}"), payload)
  equal(JSON.parse(REDIS.get(key("worker:#{worker}")))["queue"], queue)
  failed = job["class"] == "Broken"
  if failed
    REDIS.rpush(key("failed"), JSON.generate("payload" => job, "error" => "on purpose", "worker" => worker))
    REDIS.incrby(key("stat:failed"), 1)
    REDIS.incrby(key("stat:failed:#{worker}"), 1)
  end
  REDIS.pipelined do |piped|
    piped.unlink(key("worker:#{worker}"))
    piped.incrby(key("stat:processed"), 1)
    piped.incrby(key("stat:processed:#{worker}"), 1)
  end
end

if PART == "work"
  test "jobs are queued and seen" do
    30.times { |n| enqueue("mail", "Send", n) }
    enqueue("low", "Broken")
    enqueue("low", "Send", "grüße \u0000")
    equal(REDIS.smembers(key("queues")).sort, %w[low mail])
    equal(REDIS.llen(key("queue:mail")), 30)
    equal(JSON.parse(REDIS.lindex(key("queue:mail"), 3))["args"], [3])
    equal(REDIS.lrange(key("queue:mail"), 10, 14).size, 5)
    equal(REDIS.lrem(key("queue:mail"), 0, JSON.generate("class" => "Send", "args" => [7])), 1)
  end
  test "a worker does them in order" do
    register(WORKER)
    done = []
    while (found = reserve("mail", "low"))
      work_off(WORKER, *found)
      done << found.last["args"].first
    end
    equal(done, [*0..6, *8..29, nil, "grüße \u0000"])
    equal(REDIS.get(key("stat:processed")).to_i, 31)
    equal(REDIS.get(key("stat:failed:#{WORKER}")).to_i, 1)
  end
  test "failures are shown, retried and removed" do
    3.times { |n| REDIS.rpush(key("failed"), JSON.generate("payload" => { "class" => "X", "args" => [n] })) }
    equal(REDIS.llen(key("failed")), 4)
    failed = JSON.parse(REDIS.lindex(key("failed"), 0))
    failed["retried_at"] = "now"
    equal(REDIS.lset(key("failed"), 0, JSON.generate(failed)), "OK")
    REDIS.lset(key("failed"), 1, "")
    equal(REDIS.lrem(key("failed"), 1, ""), 1)
    equal(REDIS.lrange(key("failed"), 0, -1).map { |f| JSON.parse(f)["payload"]["args"] }, [[], [1], [2]])
  end
  test "a dead worker is pruned by one" do
    register(DEAD)
    REDIS.set(key("worker:#{DEAD}"), "{}")
    lock = -> { REDIS.set(key("pruning_dead_workers_in_progress"), WORKER, ex: 60, nx: true) }
    equal([lock.call, lock.call], [true, false])
    equal(REDIS.hgetall(key("workers:heartbeat")).keys.sort, [DEAD, WORKER])
    equal(REDIS.mapped_mget(key("worker:#{DEAD}"), key("worker:#{WORKER}")).values, ["{}", nil])
    unregister(DEAD)
    equal(REDIS.smembers(key("workers")), [WORKER])
    equal(REDIS.sismember(key("workers"), DEAD), false)
  end
  test "eight workers take each job once" do
    500.times { |n| enqueue("many", "Count", n) }
    taken = Queue.new
    threads = 8.times.map do
      Thread.new do
        own = Redis.new(url: "redis://127.0.0.1:#{PORT}/0")
        while (job = own.lpop(key("queue:many")))
          own.hincrby(key("counts"), JSON.parse(job)["args"].first % 10, 1)
          taken << JSON.parse(job)["args"].first
        end
      end
    end
    threads.each(&:join)
    equal(Array.new(taken.size) { taken.pop }.sort, (0...500).to_a)
    equal(REDIS.hgetall(key("counts")).values, ["50"] * 10)
  end
  test "jobs are left for the next server" do
    5.times { |n| enqueue("mail", "Send", n) }
  end
else
  test "queues, workers, failures and counts are kept" do
    equal(REDIS.lrange(key("queue:mail"), 0, -1).map { |job| JSON.parse(job)["args"] }, [[0], [1], [2], [3], [4]])
    equal(REDIS.smembers(key("workers")), [WORKER])
    equal(REDIS.llen(key("failed")), 3)
    equal(REDIS.get(key("stat:processed")).to_i, 31)
    equal(REDIS.ttl(key("pruning_dead_workers_in_progress")).between?(1, 60), true)
    work_off(WORKER, *reserve("mail", "low"))
    equal(REDIS.get(key("stat:processed")).to_i, 32)
  end
  test "all is removed" do
    unregister(WORKER)
    equal(REDIS.unlink(key("failed")), 1)
    queues = REDIS.smembers(key("queues"))
    REDIS.pipelined do |piped|
      queues.each do |queue|
        piped.srem(key("queues"), [queue])
        piped.unlink(key("queue:#{queue}"))
      end
    end
    equal(REDIS.keys("resque:*").sort,
          %w[counts pruning_dead_workers_in_progress stat:failed stat:processed].map { |name| key(name) })
  end
end
exit($good ? 0 : 1)
